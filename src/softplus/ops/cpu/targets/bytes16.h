// What the targets with registers of 16 bytes, SSE2 and NEON, share: comparisons and choices by the
// compiler, and element by element the conversion of float16.
#pragma once

#include "register.h"

namespace softplus {
namespace {

constexpr int REGISTER = 16;  // bytes
constexpr int LOOKUP = 16;  // floats in a table of `lookup`

using Floats = Register<float, REGISTER>::type;
using Doubles = Register<double, REGISTER>::type;
using Ints = Register<int32_t, REGISTER>::type;
using Longs = Register<int64_t, REGISTER>::type;

// The second operand if either is NaN
INLINE Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
INLINE Doubles maximum(Doubles a, Doubles b) { return a > b ? a : b; }
INLINE Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
INLINE Doubles minimum(Doubles a, Doubles b) { return a < b ? a : b; }

// The mask of a < b; a where a mask holds, b or 0 elsewhere
INLINE Ints less(Floats a, Floats b) { return a < b; }
INLINE Longs less(Doubles a, Doubles b) { return a < b; }
INLINE Floats chosen(Ints m, Floats a) { return (Floats)(m & (Ints)a); }
INLINE Doubles chosen(Longs m, Doubles a) { return (Doubles)(m & (Longs)a); }
INLINE Floats choose(Ints m, Floats a, Floats b) { return m ? a : b; }
INLINE Doubles choose(Longs m, Doubles a, Doubles b) { return m ? a : b; }

// Of a table of eight rows of doubles the one that an index says (mod 8) for each element, a column
// at a time
constexpr int ROWS_AT_ONCE = 8;
template <const double (&ROWS)[8][16], int> struct Row {
  const double *first, *second;
  Row() = default;
  explicit INLINE Row(Longs i) : first(ROWS[i[0] & 7]), second(ROWS[i[1] & 7]) {}
  INLINE Doubles column(int j) const { return Doubles{first[j], second[j]}; }
};

// float16, to nearest even
inline float float_of_half(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, rest = h & 0x7fff;
  const float small = float(int(rest)) * 0x1p-24f;  // a subnormal half
  uint32_t b = rest >= 0x7c00 ? 0x7f800000 | (rest & 0x3ff) << 13 : (rest << 13) + (112 << 23);
  if (rest < 0x400) memcpy(&b, &small, 4);
  b |= sign;
  float x;
  memcpy(&x, &b, 4);
  return x;
}

inline uint16_t half_of_float(float x) {
  uint32_t b;
  memcpy(&b, &x, 4);
  const uint32_t sign = b >> 16 & 0x8000;
  b &= 0x7fffffff;
  if (b > 0x7f800000) return uint16_t(sign | 0x7e00);
  if (b >= 0x477ff000) return uint16_t(sign | 0x7c00);  // 65520 and above round to infinity
  if (b < 0x38800000) {  // subnormal: adding 0.5 rounds to multiples of 2^-24
    memcpy(&x, &b, 4);
    x += 0.5f;
    memcpy(&b, &x, 4);
    return uint16_t(sign | (b - 0x3f000000));
  }
  return uint16_t(sign | (b - (112 << 23) + 0xfff + (b >> 13 & 1)) >> 13);
}

// Two registers of float16 from memory and to it, which need not be aligned even to two bytes
INLINE void load_float16(const uint16_t* p, Floats& first, Floats& second) {
  uint16_t halves[8];
  memcpy(halves, p, sizeof halves);
  for (int i = 0; i < 8; i++) (i < 4 ? first : second)[i % 4] = float_of_half(halves[i]);
}
INLINE void store_float16(uint16_t* p, Floats first, Floats second, bool /*around_cache*/) {
  uint16_t halves[8];
  for (int i = 0; i < 8; i++) halves[i] = half_of_float((i < 4 ? first : second)[i % 4]);
  memcpy(p, halves, sizeof halves);
}

}  // namespace
}  // namespace softplus
