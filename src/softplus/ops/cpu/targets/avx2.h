// AVX2 with FMA and F16C: registers of 32 bytes.
#pragma once

#include "x86.h"

namespace softplus {
namespace {

constexpr int REGISTER = 32;  // bytes
constexpr int LOOKUP = 8;     // floats in a table of `lookup`
constexpr bool HAS_FMA = true;

using Floats = Register<float, REGISTER>::type;
using Doubles = Register<double, REGISTER>::type;
using Ints = Register<int32_t, REGISTER>::type;
using Longs = Register<int64_t, REGISTER>::type;

// a * b + c, rounded once where HAS_FMA
INLINE Floats fused(Floats a, Floats b, Floats c) {
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) {
  return (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

// The second operand if either is NaN
INLINE Floats maximum(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE Doubles maximum(Doubles a, Doubles b) {
  return (Doubles)_mm256_max_pd((__m256d)a, (__m256d)b);
}
INLINE Floats minimum(Floats a, Floats b) { return (Floats)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE Doubles minimum(Doubles a, Doubles b) {
  return (Doubles)_mm256_min_pd((__m256d)a, (__m256d)b);
}

// The mask of a < b; a where a mask holds, b or 0 elsewhere; whether one of two masks holds
// anywhere
INLINE Ints less(Floats a, Floats b) { return a < b; }
INLINE Longs less(Doubles a, Doubles b) { return a < b; }
INLINE Floats chosen(Ints m, Floats a) { return (Floats)(m & (Ints)a); }
INLINE Doubles chosen(Longs m, Doubles a) { return (Doubles)(m & (Longs)a); }
INLINE Floats choose(Ints m, Floats a, Floats b) { return m ? a : b; }
INLINE Doubles choose(Longs m, Doubles a, Doubles b) { return m ? a : b; }
template <class Mask>
INLINE bool any(Mask m, Mask n) {
  return _mm256_movemask_ps((__m256)(m | n)) != 0;
}

// table[index mod N], N = LOOKUP or 2 * LOOKUP
template <int N>
INLINE Floats lookup(const float* table, Ints index) {
  const __m256 first = _mm256_permutevar8x32_ps(_mm256_load_ps(table), (__m256i)index);
  if constexpr (N == 8) return (Floats)first;
  const __m256 second = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), (__m256i)index);
  return (Floats)_mm256_blendv_ps(first, second, (__m256)(index << 28));
}

// Whether any element of a or b is none of first + 0 … size - 1; first is a multiple of size, which
// is a power of two.
INLINE bool outside(Ints a, Ints b, int32_t first, int32_t size) {
  const Ints differing = (a ^ first) | (b ^ first);
  return !_mm256_testz_si256((__m256i)differing, _mm256_set1_epi32(-size));
}
INLINE bool any_nan(Floats a, Floats b) {
  return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_UNORD_Q)) != 0;
}
INLINE bool any_nan(Doubles a, Doubles b) {
  return _mm256_movemask_pd(_mm256_cmp_pd((__m256d)a, (__m256d)b, _CMP_UNORD_Q)) != 0;
}

// Of a table of eight rows of doubles the one that an index says (mod ROWS_OF) for each element,
// two columns at a time. Only four rows fit into a register: among all eight a choice costs three
// operations, not one.
constexpr int ROWS_AT_ONCE = 4;
template <const double (&ROWS)[8][16], int ROWS_OF> struct Row {
  static constexpr Columns COLUMNS{ROWS};
  __m256i index;  // of the halves of each double
  __m256d upper;  // its sign says whether the row is one of the last four
  Row() = default;
  explicit INLINE Row(Longs i) {
    const Ints low = (Ints)_mm256_shuffle_epi32((__m256i)i, 0xa0);
    index = (__m256i)(low + low + (Ints)_mm256_set1_epi64x(int64_t(1) << 32));
    upper = (__m256d)(i << 61);
  }
  INLINE Doubles column(int j) const {
    const float* const rows = (const float*)COLUMNS.at[j];
    const __m256 first = _mm256_permutevar8x32_ps(_mm256_load_ps(rows), index);
    if constexpr (ROWS_OF == 4) return (Doubles)first;
    const __m256 second = _mm256_permutevar8x32_ps(_mm256_load_ps(rows + 8), index);
    return (Doubles)_mm256_blendv_pd((__m256d)first, (__m256d)second, upper);
  }
};

// A store around the cache; p is aligned to REGISTER
INLINE void stream(void* p, Ints x) { _mm256_stream_si256((__m256i*)p, (__m256i)x); }

// Two registers of float16 from memory, and to it, aligned where around the cache
INLINE void load_float16(const uint16_t* p, Floats& first, Floats& second) {
  first = (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
  second = (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p + 1));
}
INLINE void store_float16(uint16_t* p, Floats first, Floats second, bool around_cache) {
  const Ints halves = (Ints)_mm256_set_m128i(
      _mm256_cvtps_ph((__m256)second, _MM_FROUND_TO_NEAREST_INT),
      _mm256_cvtps_ph((__m256)first, _MM_FROUND_TO_NEAREST_INT));
  if (around_cache) stream(p, halves);
  else _mm256_storeu_si256((__m256i*)p, (__m256i)halves);
}

}  // namespace
}  // namespace softplus
