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

// table[index mod N], N = LOOKUP or 2 * LOOKUP
template <int N>
INLINE Floats lookup(const float* table, Ints index) {
  // the four bytes of each element: a tbl chooses among 64
  const Ints bytes = (index & (N - 1)) * 0x04040404 + 0x03020100;
  const uint8x16x4_t first = vld1q_u8_x4((const uint8_t*)table);
  const uint8x16_t found = vqtbl4q_u8(first, (uint8x16_t)bytes);
  if constexpr (N == 16) return (Floats)found;
  const uint8x16x4_t second = vld1q_u8_x4((const uint8_t*)(table + 16));
  const Ints rest = bytes ^ 0x40404040;  // beyond 63 where it is none of the second 64
  return (Floats)vqtbx4q_u8(found, second, (uint8x16_t)rest);
}

// Whether any element of a or b is none of first + 0 … size - 1; first is a multiple of size, which
// is a power of two.
INLINE bool outside(Ints a, Ints b, int32_t first, int32_t size) {
  return vmaxvq_u32((uint32x4_t)(((a ^ first) | (b ^ first)) & -size)) != 0;
}
INLINE bool any_nan(Floats a, Floats b) { return any(a != a, b != b); }
INLINE bool any_nan(Doubles a, Doubles b) { return any(a != a, b != b); }

// A store around the cache, which is any store here
INLINE void stream(void* p, Ints x) { *(Register<int32_t, REGISTER>::unaligned*)p = x; }
INLINE void end_of_streams() {}

// Which results FlushSubnormals flushes: what is too small once it is rounded, or before
constexpr bool FLUSHES_AFTER_ROUNDING = false;

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
