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

// A store around the cache; p is aligned to REGISTER
INLINE void stream(void* p, Ints x) { _mm_stream_si128((__m128i*)p, (__m128i)x); }

}  // namespace
}  // namespace softplus
