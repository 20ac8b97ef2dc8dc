// The table of float32's forward, laid out for the lookups of the target, for beta = 1 and for any.
#pragma once

#include "constants.h"
#include "vector.h"

namespace softplus {
namespace {

// The rows of a table. LOW, the low parts of the values, are needed for a beta other than 1.
enum {
  CENTRE,
  FIFTH,
  FOURTH,
  THIRD,
  SECOND,
  SLOPE,
  VALUE,
  LOW,
  SLOPE_BELOW,
  VALUE_BELOW,
  LOW_BELOW
};
constexpr int ROWS = LOW_BELOW + 1, COLUMNS = 16, BELOW = SLOPE_BELOW - SLOPE;

// Where a lookup finds 16 numbers, there is a column for each segment of x around -4, -3.5, … 3.5,
// too. Where it finds 8, those are the first columns of |x|, and the sign chooses where it matters.
constexpr bool SIGNED = LOOKUP == 16;

struct Segments {
  alignas(64) float of_size[ROWS][COLUMNS], of_x[SIGNED ? SLOPE_BELOW : 1][COLUMNS];

  constexpr void fill_in_of_x() {
    for (int row = CENTRE; SIGNED && row < SLOPE_BELOW; row++) {
      const bool odd = row == CENTRE || row == FIFTH || row == THIRD || row == SLOPE;
      const float* below = of_size[row < SLOPE ? row : row + BELOW];
      for (int k = 0; k < 8; k++) {
        of_x[row][8 + k] = of_size[row][k];
        of_x[row][7 - k] = odd ? -below[k + 1] : below[k + 1];
      }
    }
  }
};

constexpr Segments segments_of_unit_beta() {
  Segments s = {};
  for (int i = 0; i < COLUMNS; i++) {
    for (int row = 0; row <= VALUE; row++) s.of_size[row][i] = SEGMENTS[row][i];
    s.of_size[SLOPE_BELOW][i] = SEGMENTS[VALUE + 1][i];
    s.of_size[VALUE_BELOW][i] = SEGMENTS[VALUE + 2][i];
  }
  s.fill_in_of_x();
  return s;
}
constexpr Segments UNIT_SEGMENTS = segments_of_unit_beta();

// softplus(x) / beta - `minus` as polynomials in size * x - centre, where size is beta rounded and
// beta = size (1 + size_low): what rounding left moves the centres, which moves each coefficient by
// the next.
INLINE Segments segments_of(double inverse, double size_low, double minus) {
  const auto& unit = UNIT_SEGMENTS.of_size;
  Segments s;
  auto exact = [&](int row, int next, int power, int i) INLINE_LAMBDA {
    const double moved = double(unit[CENTRE][i]) * size_low * power;
    return (double(unit[row][i]) + double(unit[next][i]) * moved) * inverse;
  };
  auto coefficient = [&](int row, int next, int power) INLINE_LAMBDA {
    for (int i = 0; i < COLUMNS; i++) s.of_size[row][i] = float(exact(row, next, power, i));
  };
  auto value = [&](int row, int next) INLINE_LAMBDA {
    for (int i = 0; i < COLUMNS; i++) {
      const double both = exact(row, next, 1, i) - minus;
      s.of_size[row][i] = float(both);
      s.of_size[row + LOW - VALUE][i] = float(both - double(float(both)));
    }
  };
  memcpy(s.of_size[CENTRE], unit[CENTRE], sizeof unit[CENTRE]);
  for (int row = FIFTH; row <= THIRD; row++) coefficient(row, row, 0);
  coefficient(SECOND, THIRD, 3);
  coefficient(SLOPE, SECOND, 2);
  coefficient(SLOPE_BELOW, SECOND, 2);
  value(VALUE, SLOPE);
  value(VALUE_BELOW, SLOPE_BELOW);
  s.fill_in_of_x();
  return s;
}

// Added to a number up to 7.75, this rounds it to a half, and the bits of the sum are the column of
// |x|; of x, from the fourth on.
constexpr float COLUMN_0 = 0x1.8p22f, COLUMN_OF_X = SIGNED ? COLUMN_0 + 4 : COLUMN_0;

// The polynomial of each element's segment in x or |x|, as a column of N says; `at(row)` looks up.
template <bool UNIT, class At>
INLINE F polynomial_of_segment(F along, F size, At at) {
  const F centre = at(CENTRE);
  const F r = UNIT ? along - centre : fma(along, size, -centre);
  F p = at(FIFTH);
  for (int row = FOURTH; row <= SLOPE; row++) p = fma(p, r, at(row));
  return UNIT ? fma(p, r, at(VALUE)) : at(VALUE) + fma(p, r, at(LOW));
}

// By the first N columns of |x|
template <int N, bool UNIT>
INLINE F by_size(const Segments& s, F x, I column, F size) {
  const auto below = x < F(0);
  return polynomial_of_segment<UNIT>(abs(x), size, [&](int row) INLINE_LAMBDA {
    const F found = lookup<N>(s.of_size[row], column);
    return row < SLOPE ? found : select(below, lookup<N>(s.of_size[row + BELOW], column), found);
  });
}

// By the columns of x
template <bool UNIT>
INLINE F by_x(const Segments& s, F x, I column, F size) {
  return polynomial_of_segment<UNIT>(
      x, size, [&](int row) INLINE_LAMBDA { return lookup<16>(s.of_x[row], column); });
}

}  // namespace
}  // namespace softplus
