// The table of float32's forward, laid out for the lookups of the target, for beta = 1 and for any.
#pragma once

#include "constants.h"
#include "vector.h"

namespace softplus {
namespace {

// The rows: of SEGMENTS, and the low parts of the values, which a beta other than 1 needs.
enum { CENTRE, FIFTH, FOURTH, THIRD, SECOND, SLOPE, VALUE, SLOPE_BELOW, VALUE_BELOW, LOW, LOW_BELOW };
constexpr int ROWS = LOW_BELOW + 1;

// Where a lookup finds 16 numbers, a column stands for a segment of x, not of |x|: those around -4,
// -3.5, … 7.5, then -8, … -4.5, so that the first 16 serve -3.75 to 3.75. Where it finds 8, columns
// are those of |x|, and the coefficients that differ for x < 0 are chosen by the sign.
constexpr bool SIGNED = LOOKUP == 16;
constexpr int COLUMNS = 2 * LOOKUP;

struct Segments {
  alignas(64) float row[ROWS][COLUMNS];
};

constexpr Segments segments_of_unit_beta() {
  Segments s = {};
  for (int i = 0; i < COLUMNS; i++) {
    const int k = SIGNED && i >= 24 ? i - 40 : SIGNED ? i - 8 : i;
    const bool below = k < 0;
    if (k == -16) continue;
    for (int j = 0; j < LOW; j++) s.row[j][i] = SEGMENTS[j][below ? -k : k];
    if (!below) continue;
    s.row[SLOPE][i] = s.row[SLOPE_BELOW][i];
    s.row[VALUE][i] = s.row[VALUE_BELOW][i];
    // in x itself, which counts the other way
    for (int j = CENTRE; j <= SLOPE; j++)
      if (j != FOURTH && j != SECOND) s.row[j][i] = -s.row[j][i];
  }
  return s;
}
constexpr Segments UNIT_SEGMENTS = segments_of_unit_beta();

// softplus(x) / beta - `minus` as polynomials in size * x - centre, where size is beta rounded and
// beta = size (1 + size_low): what rounding left moves the centres, which moves each coefficient by
// the next.
INLINE Segments segments_of(double inverse, double size_low, double minus) {
  const Segments& unit = UNIT_SEGMENTS;
  Segments s;
  auto exact = [&](int row, int next, int power, int i) INLINE_LAMBDA {
    const double moved = double(unit.row[CENTRE][i]) * size_low * power;
    return (double(unit.row[row][i]) + double(unit.row[next][i]) * moved) * inverse;
  };
  auto coefficient = [&](int row, int next, int power) INLINE_LAMBDA {
    for (int i = 0; i < COLUMNS; i++) s.row[row][i] = float(exact(row, next, power, i));
  };
  auto value = [&](int row, int next, int low) INLINE_LAMBDA {
    for (int i = 0; i < COLUMNS; i++) {
      const double both = exact(row, next, 1, i) - minus;
      s.row[row][i] = float(both);
      s.row[low][i] = float(both - double(float(both)));
    }
  };
  memcpy(s.row[CENTRE], unit.row[CENTRE], sizeof s.row[CENTRE]);
  for (int row = FIFTH; row <= THIRD; row++) coefficient(row, row, 0);
  coefficient(SECOND, THIRD, 3);
  coefficient(SLOPE, SECOND, 2);
  coefficient(SLOPE_BELOW, SECOND, 2);
  value(VALUE, SLOPE, LOW);
  value(VALUE_BELOW, SLOPE_BELOW, LOW_BELOW);
  return s;
}

// Added to a number up to 7.75, this rounds it to a half, and the bits of the sum are the column.
constexpr float COLUMN_0 = 0x1.8p22f, TO_COLUMN = SIGNED ? COLUMN_0 + 4 : COLUMN_0;

// Coefficient `row` of each element; x is what its sign is taken from.
template <int N>
INLINE F coefficient(const Segments& s, int row, I column, F x) {
  const F found = lookup<N>(s.row[row], column);
  if (SIGNED || row < SLOPE) return found;
  const int below = row == LOW ? LOW_BELOW : row + SLOPE_BELOW - SLOPE;
  return select(x < F(0), lookup<N>(s.row[below], column), found);
}

// The polynomial of each element's segment, among the first N columns or all
template <int N, bool UNIT>
INLINE F polynomial_of(const Segments& s, I column, F x, F size) {
  auto at = [&](int row) INLINE_LAMBDA { return coefficient<N>(s, row, column, x); };
  const F along = SIGNED ? x : abs(x), centre = at(CENTRE);
  const F r = UNIT ? along - centre : fma(along, size, -centre);
  F p = at(FIFTH);
  for (int row = FOURTH; row <= SLOPE; row++) p = fma(p, r, at(row));
  return UNIT ? fma(p, r, at(VALUE)) : at(VALUE) + fma(p, r, at(LOW));
}

}  // namespace
}  // namespace softplus
