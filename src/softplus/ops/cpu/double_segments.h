// What Softplus lies above max(0, x) in float64, near 0: a polynomial for each segment of |x|.
#pragma once

#include "constants.h"
#include "vector.h"

namespace softplus {
namespace {

// ln(1 + e^-a) for 0 <= a < ROWS - 0.5
template <int ROWS>
INLINE D by_segments(D a) {
  const Rows<DOUBLE_SEGMENTS, ROWS> rows(
      bits(a + D(0x1.8p52)));  // the nearest integer is in its low bits
  const D r = a - rows.column(0), square = r * r;
  D p = fma(rows.column(15), r, rows.column(14));
  for (int j = 12; j >= 2; j -= 2)  // the sums of two terms do not wait for p
    p = fma(p, square, fma(rows.column(j + 1), r, rows.column(j)));
  return fma(p, r, rows.column(1));
}

}  // namespace
}  // namespace softplus
