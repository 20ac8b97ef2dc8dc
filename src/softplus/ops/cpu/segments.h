// The table of float32's forward, laid out for the lookups of the target, for beta = 1 and for any.
#pragma once

#include <utility>

#include "constants.h"
#include "vector.h"

namespace softplus {
namespace {

// The rows of a table. SLOPE, VALUE and its low part, which a beta other than 1 needs, are of x <
// 0; the others serve both signs.
enum {
  CENTRE,
  FIFTH,
  FOURTH,
  THIRD,
  SECOND,
  SLOPE,
  VALUE,
  LOW,
  SLOPE_ABOVE,
  VALUE_ABOVE,
  LOW_ABOVE
};
constexpr int ROWS = LOW_ABOVE + 1, ABOVE = SLOPE_ABOVE - SLOPE;

// The columns of |x|: a segment each around 0, 1/2, …, 7, and the last one for all beyond.
constexpr int SEGMENTS_OF_SIZE = 15, COLUMNS = SEGMENTS_OF_SIZE + 1;
using BySize = float[ROWS][COLUMNS];

// Where a lookup finds 16 numbers at once, and 32 in two registers, there is a column for each
// segment of x, first those around -4, -3.5, … 3.5. Where it finds 8 and 16, those are the columns
// of |x|, and the sign chooses where it matters.
constexpr bool SIGNED = LOOKUP == 16;

struct Segments {
  alignas(64) float at[SIGNED ? LOW + 1 : ROWS][2 * LOOKUP] = {};

  constexpr explicit Segments(const BySize& of) {
    for (int row = 0; row < (SIGNED ? LOW + 1 : ROWS); row++) {
      const bool odd = row == CENTRE || row == FIFTH || row == THIRD || row == SLOPE;
      for (int k = 0; k < COLUMNS; k++) {
        at[row][SIGNED ? 8 + k : k] = of[SIGNED && row >= SLOPE ? row + ABOVE : row][k];
        if (SIGNED && 0 < k && k < SEGMENTS_OF_SIZE)
          at[row][(8 - k) & (2 * LOOKUP - 1)] = odd ? -of[row][k] : of[row][k];
      }
    }
  }
};

// The column for all beyond: e^-r - 1, to be multiplied by what e^r lacks.
constexpr void put_beyond(BySize& of) {
  for (int row = 0; row < ROWS; row++) of[row][SEGMENTS_OF_SIZE] = 0;
  of[FOURTH][SEGMENTS_OF_SIZE] = EXPM1_EIGHTH[2];
  of[THIRD][SEGMENTS_OF_SIZE] = -EXPM1_EIGHTH[1];
  of[SECOND][SEGMENTS_OF_SIZE] = EXPM1_EIGHTH[0];
  of[SLOPE][SEGMENTS_OF_SIZE] = of[SLOPE_ABOVE][SEGMENTS_OF_SIZE] = -1;
}

struct UnitSegments {
  BySize of = {};
  constexpr UnitSegments() {
    for (int i = 0; i < SEGMENTS_OF_SIZE; i++) {
      for (int row = 0; row <= VALUE; row++) of[row][i] = SEGMENTS[row][i];
      // by softplus(a) = a + softplus(-a), which the centres make exact
      of[SLOPE_ABOVE][i] = of[SLOPE][i] + 1;
      of[VALUE_ABOVE][i] = of[VALUE][i] + of[CENTRE][i];
    }
    put_beyond(of);
  }
};
constexpr UnitSegments UNIT;
constexpr Segments UNIT_SEGMENTS(UNIT.of);

// softplus(x) / beta - `minus` as polynomials in size * x - centre, where size is beta rounded and
// beta = size (1 + size_low): what rounding left moves the centres, which moves each coefficient by
// the next.
INLINE Segments segments_of(double inverse, double size_low, double minus) {
  BySize of = {};
  // All columns, whose number is a power of two: of two that remain GCC 12 forgets the low parts.
  for (int i = 0; i < COLUMNS; i++) {
    auto exact = [&](int row, int next, int power) INLINE_LAMBDA {
      const double moved = double(UNIT.of[CENTRE][i]) * size_low * power;
      return (double(UNIT.of[row][i]) + double(UNIT.of[next][i]) * moved) * inverse;
    };
    of[CENTRE][i] = UNIT.of[CENTRE][i];
    for (int row = FIFTH; row <= THIRD; row++) of[row][i] = float(exact(row, row, 0));
    of[SECOND][i] = float(exact(SECOND, THIRD, 3));
    for (int side = 0; side <= ABOVE; side += ABOVE) {
      of[SLOPE + side][i] = float(exact(SLOPE + side, SECOND, 2));
      const double value = exact(VALUE + side, SLOPE + side, 1) - minus;
      of[VALUE + side][i] = float(value);
      of[LOW + side][i] = float(value - double(float(value)));
    }
  }
  put_beyond(of);
  return Segments(of);
}

// Added to a number up to 7.25, this rounds it to a half, and the bits of the sum are the column of
// |x|, or of x.
constexpr float COLUMN_0 = 0x1.8p22f, COLUMN_OF_0 = SIGNED ? COLUMN_0 + 4 : COLUMN_0;

// An eighth of an exponent from a table, which lacks what the low bits of n say, times 2^(n/8)
INLINE F times_eighths(const float (&eighths)[16], F n_and_magic) {
  const I n = bits(n_and_magic);
  return of_bits<F>(bits(lookup<LOOKUP>(eighths, n)) + (n << 20));
}

// Of an element beyond the segments, where |beta x| = -ln2/8 n - d + r, d the centre of the eighth:
// n; low, the part of r that is too small for r = |beta x| + ln2/8 n; and with T = 2^(n/8) e^d what
// ln(1 + T) / T lies above 1. All are 0 of the others.
struct Beyond {
  F n, low, gap;
};

// softplus of each element by its segment's polynomial in x or |x|, as a column of N says, in two
// parts: a value, which UNIT has none of, and the rest; `at(row)` looks up. Beyond the segments, it
// is what ln(1 + T e^-r) / T lies above 1.
template <bool UNIT, class At>
INLINE std::pair<F, F> polynomial_of_segment(F along, F size, const Beyond* beyond, At at) {
  F minus_centre = -at(CENTRE);
  if (beyond) minus_centre = fma(beyond->n, F(LN2_EIGHTH_SHORT), minus_centre);
  F r = UNIT ? along + minus_centre : fma(along, size, minus_centre);
  F second = at(SECOND), slope = at(SLOPE), last = at(UNIT ? VALUE : LOW);
  if (beyond) {
    r = r + beyond->low;
    second = fma(beyond->gap, F(2), second);
    slope = fma(beyond->gap, F(-2.0019f), slope);
    last = last + beyond->gap;
  }
  const F high = fma(fma(at(FIFTH), r, at(FOURTH)), r, at(THIRD));
  return {UNIT ? F(0) : at(VALUE), fma(fma(fma(high, r, second), r, slope), r, last)};
}

template <int N, bool UNIT>
INLINE std::pair<F, F> by_segments(
    const Segments& s, F x, F along, I column, F size, const Beyond* beyond = nullptr) {
  if constexpr (SIGNED) {
    return polynomial_of_segment<UNIT>(
        along, size, beyond, [&](int row) INLINE_LAMBDA { return lookup<N>(s.at[row], column); });
  } else {
    const auto above = F(0) < x;
    return polynomial_of_segment<UNIT>(along, size, beyond, [&](int row) INLINE_LAMBDA {
      const F found = lookup<N>(s.at[row], column);
      if (row < SLOPE) return found;
      if (!UNIT) return select(above, lookup<N>(s.at[row + ABOVE], column), found);
      return found + only(above, row == SLOPE ? F(1) : lookup<N>(s.at[CENTRE], column));
    });
  }
}

}  // namespace
}  // namespace softplus
