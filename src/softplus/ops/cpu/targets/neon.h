// NEON, which every 64-bit ARM CPU has: registers of 16 bytes.
#pragma once

#include <arm_neon.h>

#include "bytes16.h"

namespace softplus {
namespace {

constexpr bool HAS_FMA = true;

// a * b + c, rounded once where HAS_FMA
INLINE Floats fused(Floats a, Floats b, Floats c) {
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) {
  return (Doubles)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}

// Whether one of two masks holds anywhere
template <class Mask>
INLINE bool any(Mask m, Mask n) {
  return vmaxvq_u32((uint32x4_t)(m | n)) != 0;
}

// A store around the cache, which is any store here
INLINE void stream(void* p, Ints x) { *(Register<int32_t, REGISTER>::unaligned*)p = x; }
INLINE void end_of_streams() {}

struct FlushSubnormals {
  uint64_t saved;
  FlushSubnormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved));
    asm volatile("msr fpcr, %0" ::"r"(saved | 1 << 24));
  }
  ~FlushSubnormals() { asm volatile("msr fpcr, %0" ::"r"(saved)); }
};

}  // namespace
}  // namespace softplus
