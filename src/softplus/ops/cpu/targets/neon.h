// NEON, which every 64-bit ARM CPU has: registers of 16 bytes.
#pragma once

#include <arm_neon.h>

#include "half.h"

namespace softplus {
namespace {

constexpr int REGISTER = 16;  // bytes
constexpr int LOOKUP = 16;    // floats in a table of `lookup`
constexpr bool HAS_FMA = true;

using Floats = Register<float, REGISTER>::type;
using Doubles = Register<double, REGISTER>::type;
using Ints = Register<int32_t, REGISTER>::type;
using Longs = Register<int64_t, REGISTER>::type;

// a * b + c, rounded once where HAS_FMA
INLINE Floats fused(Floats a, Floats b, Floats c) {
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) {
  return (Doubles)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}

// The second operand if either is NaN
INLINE Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
INLINE Doubles maximum(Doubles a, Doubles b) { return a > b ? a : b; }
INLINE Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
INLINE Doubles minimum(Doubles a, Doubles b) { return a < b ? a : b; }

// The mask of a < b; a where a mask holds, b elsewhere; whether one of two masks holds anywhere
INLINE Ints less(Floats a, Floats b) { return a < b; }
INLINE Longs less(Doubles a, Doubles b) { return a < b; }
INLINE Floats choose(Ints m, Floats a, Floats b) { return m ? a : b; }
INLINE Doubles choose(Longs m, Doubles a, Doubles b) { return m ? a : b; }
template <class Mask>
INLINE bool any(Mask m, Mask n) {
  return vmaxvq_u32((uint32x4_t)(m | n)) != 0;
}

// table[index mod LOOKUP]
INLINE Floats lookup(const float* table, Ints index) {
  Floats r;
  for (int i = 0; i < 4; i++) r[i] = table[index[i] & (LOOKUP - 1)];
  return r;
}

// A store around the cache, which is any store here
INLINE void stream(void* p, Ints x) { *(Register<int32_t, REGISTER>::unaligned*)p = x; }
INLINE void end_of_streams() {}

// Two registers of float16 from memory, and to it
INLINE void load_float16(const uint16_t* p, Floats& first, Floats& second) {
  load_halves(p, first, second);
}
INLINE void store_float16(uint16_t* p, Floats first, Floats second, bool) {
  store_halves(p, first, second);
}

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
