// AVX-512: registers of 64 bytes, comparisons into mask registers.
#pragma once

#include "x86.h"

namespace softplus {
namespace {

constexpr int REGISTER = 64;  // bytes
constexpr int LOOKUP = 16;    // floats in a table of `lookup`
constexpr bool HAS_FMA = true;

using Floats = Register<float, REGISTER>::type;
using Doubles = Register<double, REGISTER>::type;
using Ints = Register<int32_t, REGISTER>::type;

// a * b + c, rounded once where HAS_FMA
INLINE Floats fused(Floats a, Floats b, Floats c) {
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) {
  return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

// The second operand if either is NaN
INLINE Floats maximum(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE Doubles maximum(Doubles a, Doubles b) {
  return (Doubles)_mm512_max_pd((__m512d)a, (__m512d)b);
}
INLINE Floats minimum(Floats a, Floats b) { return (Floats)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE Doubles minimum(Doubles a, Doubles b) {
  return (Doubles)_mm512_min_pd((__m512d)a, (__m512d)b);
}

// The mask of a < b; a where a mask holds, b or 0 elsewhere; whether one of two masks holds
// anywhere
INLINE __mmask16 less(Floats a, Floats b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
INLINE __mmask8 less(Doubles a, Doubles b) {
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ);
}
INLINE Floats chosen(__mmask16 m, Floats a) { return (Floats)_mm512_maskz_mov_ps(m, (__m512)a); }
INLINE Doubles chosen(__mmask8 m, Doubles a) { return (Doubles)_mm512_maskz_mov_pd(m, (__m512d)a); }
INLINE Floats choose(__mmask16 m, Floats a, Floats b) {
  return (Floats)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a);
}
INLINE Doubles choose(__mmask8 m, Doubles a, Doubles b) {
  return (Doubles)_mm512_mask_blend_pd(m, (__m512d)b, (__m512d)a);
}
INLINE bool any(__mmask16 m, __mmask16 n) { return !_kortestz_mask16_u8(m, n); }

// table[index mod N], N = LOOKUP or 2 * LOOKUP
template <int N>
INLINE Floats lookup(const float* table, Ints index) {
  const __m512 first = _mm512_load_ps(table);
  if constexpr (N == 16) return (Floats)_mm512_permutexvar_ps((__m512i)index, first);
  return (Floats)_mm512_permutex2var_ps(first, (__m512i)index, _mm512_load_ps(table + 16));
}

// Whether any element of a or b is none of first + 0 … size - 1; first is a multiple of size, which
// is a power of two.
INLINE bool outside(Ints a, Ints b, int32_t first, int32_t size) {
  // 0x7e: a, b and first not all equal
  const __m512i differing =
      _mm512_ternarylogic_epi32((__m512i)a, (__m512i)b, _mm512_set1_epi32(first), 0x7e);
  return _mm512_test_epi32_mask(differing, _mm512_set1_epi32(-size)) != 0;
}
INLINE bool any_nan(Floats a, Floats b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_UNORD_Q) != 0;
}
INLINE bool any_nan(Doubles a, Doubles b) {
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_UNORD_Q) != 0;
}

// Of a table of eight rows of doubles the one that an index says (mod 8) for each element, a column
// at a time
constexpr int ROWS_AT_ONCE = 8;
template <const double (&ROWS)[8][16], int> struct Row {
  static constexpr Columns COLUMNS{ROWS};
  __m512i index;
  Row() = default;
  explicit INLINE Row(Register<int64_t, REGISTER>::type i) : index((__m512i)i) {}
  INLINE Doubles column(int j) const {
    return (Doubles)_mm512_permutexvar_pd(index, _mm512_load_pd(COLUMNS.at[j]));
  }
};

// A store around the cache; p is aligned to REGISTER
INLINE void stream(void* p, Ints x) { _mm512_stream_si512((__m512i*)p, (__m512i)x); }

// Two registers of float16 from memory, and to it, aligned where around the cache
INLINE void load_float16(const uint16_t* p, Floats& first, Floats& second) {
  first = (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
  second = (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p + 1));
}
INLINE void store_float16(uint16_t* p, Floats first, Floats second, bool around_cache) {
  const __m256i halves[] = {
      _mm512_cvtps_ph((__m512)first, _MM_FROUND_TO_NEAREST_INT),
      _mm512_cvtps_ph((__m512)second, _MM_FROUND_TO_NEAREST_INT)};
  for (int k = 0; k < 2; k++) {
    if (around_cache) _mm256_stream_si256((__m256i*)p + k, halves[k]);
    else _mm256_storeu_si256((__m256i*)p + k, halves[k]);
  }
}

}  // namespace
}  // namespace softplus
