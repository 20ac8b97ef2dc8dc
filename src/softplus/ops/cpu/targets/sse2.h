// SSE2, which every x86-64 CPU has: registers of 16 bytes, no fused multiplication and addition.
#pragma once

#include "bytes16.h"
#include "x86.h"

namespace softplus {
namespace {

constexpr bool HAS_FMA = false;

// a * b + c, rounded once where HAS_FMA
INLINE Floats fused(Floats a, Floats b, Floats c) { return a * b + c; }
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) { return a * b + c; }

// Whether one of two masks holds anywhere
template <class Mask>
INLINE bool any(Mask m, Mask n) {
  return _mm_movemask_ps((__m128)(m | n)) != 0;
}

// table[index mod N], N = LOOKUP or 2 * LOOKUP
template <int N>
INLINE Floats lookup(const float* table, Ints index) {
  Floats r;
  for (int i = 0; i < 4; i++) r[i] = table[index[i] & (N - 1)];
  return r;
}

// Whether any element of a or b is none of first + 0 … size - 1; first is a multiple of size, which
// is a power of two.
INLINE bool outside(Ints a, Ints b, int32_t first, int32_t size) {
  const Ints inside = (((a ^ first) | (b ^ first)) & -size) == 0;
  return _mm_movemask_epi8((__m128i)inside) != 0xffff;
}
INLINE bool any_nan(Floats a, Floats b) {
  return _mm_movemask_ps(_mm_cmpunord_ps((__m128)a, (__m128)b)) != 0;
}
INLINE bool any_nan(Doubles a, Doubles b) {
  return _mm_movemask_pd(_mm_cmpunord_pd((__m128d)a, (__m128d)b)) != 0;
}

// A store around the cache; p is aligned to REGISTER
INLINE void stream(void* p, Ints x) { _mm_stream_si128((__m128i*)p, (__m128i)x); }

}  // namespace
}  // namespace softplus
