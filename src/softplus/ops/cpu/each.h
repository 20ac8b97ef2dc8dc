// The maths of a beta for each element in double: Softplus, its shifted form, and their derivatives
// towards both input and beta, on one vector, to the digits of float32 or to all. Of float32 and
// below only what each_in_float.h does not serve.
#pragma once

#include "maths.h"
#include "shifted.h"

namespace softplus {
namespace {

// The beta of each element. One that is infinite or 0, or nearly, counts as the nearest whose
// products with others stay in range. What only the full digits need is made for these alone.
template <Digits DIGITS>
INLINE Beta<D> beta_of_each(D b) {
  constexpr double BIAS = Scalar<double>::BIAS;
  Beta<D> beta = {};
  beta.sign = of_bits<D>(bits(b) & sign_bit<D>());
  beta.size = min(D(0x1p900), max(D(0x1p-900), abs(b)));  // in this order NaN stays
  beta.inverse = D(1) / beta.size;
  if constexpr (DIGITS != Digits::full) return beta;
  beta.inverse_error = -product_error(beta.inverse, beta.size, D(1));
  // by the exponents alone, a little beyond: the results there underflow to zero
  const D log_size = (stored_exponent(beta.size) - D(BIAS - 1)) * D(LN2);
  beta.lowest = -(stored_exponent(beta.inverse) * D(LN2) + D(0.01)) * beta.inverse;
  beta.lowest_derivative = (D(UNDERFLOW_AT<D>) - max(D(0), log_size)) * beta.inverse;
  beta.lowest_curvature = -(D(LN2 * (BIAS - 1)) + log_size) * beta.inverse;
  return beta;
}

// e^v, and ln(1 + e^v), to the digits of float32: in double that takes no low parts.
struct Above {
  D t, log1p;
};
INLINE Above above_zero(D v) {
  const D shifted = fma(v, D(LOG2E), magic<D>());
  const D r = fma(shifted - magic<D>(), D(-LN2), v), scale = power(shifted);
  const D q = fma(r * r, polynomial(r, EXPM1_SINGLE_IN_DOUBLE), r), t = fma(scale, q, scale);
  return {t, t * polynomial(t, LOG1P_SINGLE)};
}

// softplus(x); all digits are those of `softplus`.
// Largest error, ULP   beta = 1      any
//   float32                   -   0.5030
template <Digits DIGITS>
INLINE D softplus_in_double(D x, const Beta<D>& beta) {
  if constexpr (DIGITS == Digits::full) return softplus<DIGITS, false>(x, beta);
  const D z = flip_sign(x, beta.sign);
  const D v = max(D(UNDERFLOW_AT<D>), minus_abs(z * beta.size));
  return flip_sign(fma(above_zero(v).log1p, beta.inverse, max(D(0), z)), beta.sign);
}

// softplus(x) - ln2/beta; all digits are those of `shifted_to_zero`.
// Largest error, ULP   beta = 1      any
//   float32                   -   0.5169
template <Digits DIGITS>
INLINE D shifted_in_double(D x, const Beta<D>& beta) {
  if constexpr (DIGITS == Digits::full) return shifted_to_zero(x, beta);
  const D u = flip_sign(x, beta.sign) * beta.size, v = max(D(UNDERFLOW_AT<D>), minus_abs(u));
  D near = fma(v * v, polynomial(v * v, LOG_COSH_SINGLE), 0.5 * u);
  D far = (above_zero(v).log1p - D(LN2)) + max(D(0), u);
  return flip_sign(select(D(-1.5) < v, near, far) * beta.inverse, beta.sign);
}

// The derivatives of y = softplus(x) towards both x and beta, a shift by ln2/beta among it or not.
struct DerivativeOfBoth {
  D s, to_beta;  // dy/dx, dy/dbeta
  D twice_x, mixed, twice_beta;  // d²y/dx², d²y/(dx dbeta), d²y/dbeta²
};

// With a = |u|, u = beta*x, t = e^-a, and the entropy of a coin that falls on one side in a share
// of s = sigmoid(u), H = ln(1 + t) + a t / (1 + t): dy/dbeta = -H / beta², and d²y/dbeta² = (2 H +
// u² s (1 - s)) / beta³. Of the shifted form it is H - ln 2 in both. The error is that of dy/dbeta;
// of the shifted form it is 7.06. A d²y/dbeta² of that form cancels near 0: u⁴ is left of u².
// Largest error, ULP   beta = 1      any
//   float64                   -     5.86
template <Digits DIGITS>
INLINE DerivativeOfBoth derivative_of_both(D x, const Beta<D>& beta, bool shifted) {
  const D z = flip_sign(x, beta.sign), one = D(1), largest = std::numeric_limits<double>::max();
  D t, entropy, v;
  if constexpr (DIGITS == Digits::full) {
    D low;
    v = scaled<false>(max(beta.lowest_derivative, minus_abs(x)), beta, low);
    auto e = exponential<DIGITS, true>(v, low);
    t = e.value();
    Sum log = log1p_of(e, t);
    entropy = log.high + log.low;
  } else {
    v = max(D(UNDERFLOW_AT<D>), minus_abs(z * beta.size));
    Above above = above_zero(v);
    t = above.t;
    entropy = above.log1p;
  }
  D other = t / (one + t), larger = select(z < D(0), t, one), bend = fma(-other, other, other);
  entropy = fma(-v, other, entropy);
  if (shifted) {  // minus ln 2, without cancellation
    D w = v * v;
    entropy = select(D(-1.5) < v, -w * polynomial(w, ENTROPY_GAP), entropy - D(LN2));
  }
  DerivativeOfBoth d;
  d.s = fma(-larger, other, larger);
  // of a tiny beta these overflow, and infinity times a gradient of 0 would be NaN
  d.to_beta = -max(-largest, min(largest, entropy * beta.inverse * beta.inverse));
  d.twice_x = flip_sign(bend * beta.size, beta.sign);
  d.mixed = flip_sign(-v * bend * beta.inverse, of_bits<D>(bits(x) & sign_bit<D>()));
  D twice = fma(v * v, bend, 2.0 * entropy) * beta.inverse * beta.inverse * beta.inverse;
  d.twice_beta = flip_sign(max(-largest, min(largest, twice)), beta.sign);
  return d;
}

}  // namespace
}  // namespace softplus
