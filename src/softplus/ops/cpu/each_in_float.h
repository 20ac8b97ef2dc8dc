// The maths of a beta for each element in float, for float32 and the half types: Softplus, its
// shifted form and their derivatives, on one vector. For targets with FMA, and betas of 2^-50 to
// 2^50 in magnitude.
#pragma once

#include "maths.h"

namespace softplus {
namespace {

// The beta of each element, and what rounding it to a float left. Its `lowest` is where e^(beta*x)
// times 1/beta^2, the larger of what it is multiplied with, underflows: 2^-60 more than for 1/beta.
INLINE Beta<F> beta_of_each(F b, F b_low) {
  Beta<F> beta = {};
  beta.sign = of_bits<F>(bits(b) & sign_bit<F>());
  beta.size = abs(b);
  beta.size_low = flip_sign(b_low, beta.sign);
  beta.inverse = F(1) / beta.size;
  beta.inverse_error = fma(-beta.inverse, beta.size_low, fma(-beta.inverse, beta.size, F(1)));
  beta.lowest = (stored_exponent(beta.inverse) + F(60)) * F(-LN2_FLOAT) * beta.inverse;
  return beta;
}

// Factors of this size keep a product with e^v normal where e^v is not.
constexpr float LARGE = 0x1p64f;

// What LN2_FLOAT lacks
constexpr float LN2_FLOAT_REST = float(LN2 - double(LN2_FLOAT));

// The segments of |beta*x|, for the side below 0
alignas(64) constexpr UnitSegments BELOW_ZERO;

// ln(1 + e^-|u|), u = beta*x, in two parts
struct AboveRelu {
  F value, rest;
};
template <int N>
INLINE AboveRelu above_relu_by_segments(F x, I column, const Beta<F>& beta) {
  const auto at = [&](int row) INLINE_LAMBDA { return lookup<N>(BELOW_ZERO.of[row], column); };
  const F r = fma(x, beta.size_low, fma(x, beta.size, -at(CENTRE)));
  F p = at(FIFTH);
  for (int row = FOURTH; row <= SLOPE; row++) p = fma(p, r, at(row));
  return {at(VALUE), p * r};
}

// ln(1 + t) / beta for t = e^-|u| beyond the segments: t (1 - t/2 + t^2/3) / beta
INLINE F above_relu_beyond(F x, const Beta<F>& beta) {
  F low, v = scaled<false>(max(beta.lowest, minus_abs(x)), beta, low);
  const auto e = exponential<Digits::single, true>(v, low);
  const F t = e.value(), factor = times_power(beta.inverse * F(LARGE), e.n_and_magic);
  const F rest = (F(1) + e.q) * fma(t, fma(t, F(1 / 3.f), F(-0.5f)), beta.inverse_error);
  return fma(factor, e.q + rest, factor) * F(1 / LARGE);
}

// softplus(x), for beta > 0, or what it is above ln2/beta
template <bool SHIFTED>
INLINE F softplus_of_size(F x, const Beta<F>& beta) {
  const F size = abs(x), column = fma(size, beta.size, F(COLUMN_0)), linear = max(F(0), x);
  const auto whole = [&](AboveRelu above) INLINE_LAMBDA {
    if (SHIFTED) {
      const F value = above.value - F(LN2_FLOAT);
      above.rest = above.rest + ((above.value - (value + F(LN2_FLOAT))) - F(LN2_FLOAT_REST));
      above.value = value;
    }
    const F rest = fma(above.value, beta.inverse_error, above.rest);
    return fma(above.value, beta.inverse, fma(rest, beta.inverse, linear));
  };
  if (LOOKUP < COLUMNS && !outside(bits(column), std::bit_cast<int32_t>(COLUMN_0), LOOKUP))
    return whole(above_relu_by_segments<LOOKUP>(size, bits(column), beta));
  const F y = whole(above_relu_by_segments<COLUMNS>(size, bits(column), beta));
  const auto beyond = F(COLUMN_0 + 7) < column;
  if (!any(beyond)) return y;
  const F zero = SHIFTED ? whole({F(0), F(0)}) : linear;
  return select(beyond, zero + above_relu_beyond(x, beta), y);
}

// Largest error, ULP   beta = 1      any
//   float32                   -     1.86
INLINE F softplus_in_float(F x, const Beta<F>& beta) {
  return flip_sign(softplus_of_size<false>(flip_sign(x, beta.sign), beta), beta.sign);
}

// softplus(x) - ln2/beta: near 0 as in `shifted_of_float`.
// Largest error, ULP   beta = 1      any
//   float32                   -     1.79
INLINE F shifted_in_float(F x, const Beta<F>& beta) {
  const F z = flip_sign(x, beta.sign), u = z * beta.size, w = u * u;
  const F near = fma(w * beta.inverse, polynomial(w, LOG_COSH), F(0.5f) * z);
  return flip_sign(select(abs(u) < F(1.0f), near, softplus_of_size<true>(z, beta)), beta.sign);
}

// The first derivatives of y = softplus(x), or of the shifted form
struct FirstOfBoth {
  F s, to_beta;  // dy/dx, dy/dbeta
};

// As `derivative_of_both` has them. The error is that of dy/dbeta; of the shifted form it is 7.08.
// Largest error, ULP   beta = 1      any
//   float32                   -     5.23
template <bool SHIFTED>
INLINE FirstOfBoth first_of_both(F x, const Beta<F>& beta) {
  const F z = flip_sign(x, beta.sign), one = F(1);
  F low, v = scaled<false>(max(beta.lowest, minus_abs(z)), beta, low);
  const auto e = exponential<Digits::single, true>(v, low);
  const F t = e.value(), other = t / (one + t), larger = select(z < F(0), t, one);
  const F over_t = fma(-v, one - other, polynomial(t, LOG1P_FLOAT));  // the entropy, over t
  const F error = beta.inverse_error + beta.inverse_error;            // of 1 / beta^2
  F to_beta;
  if (SHIFTED) {
    const F w = v * v;
    const F gap =
        select(F(-1.5f) < v, -w * polynomial(w, ENTROPY_GAP_FLOAT), fma(over_t, t, F(-LN2_FLOAT)));
    to_beta = times(fma(gap, error, gap) * beta.inverse, beta.inverse);
  } else {
    const F factor = times_power(beta.inverse * F(LARGE), e.n_and_magic);
    to_beta = times(fma(over_t, e.q + error, over_t) * factor, beta.inverse * F(1 / LARGE));
  }
  return {fma(-larger, other, larger), -to_beta};
}

}  // namespace
}  // namespace softplus
