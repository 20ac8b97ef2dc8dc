// The maths of the shifted form, softplus(x) - ln2/beta, on one vector.
#pragma once

#include "maths.h"

namespace softplus {
namespace {

// softplus(x) - ln2/beta = ln(1 + (e^u - 1) / 2) / beta, which does not cancel near u = 0.
// Largest error, ULP   beta = 1      any
//   float64                1.38     1.48
INLINE D shifted_to_zero(D x, const Beta<D>& beta) {
  D z = flip_sign(x, beta.sign), small = max(-beta.inverse, min(beta.inverse, z));
  D low, u = scaled<false>(small, beta, low);
  auto e = exponential<Digits::full, true>(u, low);
  D expm1 = fma(e.scale, e.q, e.scale - D(1)), low_of_expm1 = e.rest(e.scale - D(1), expm1);
  D near = over_beta(0.5 * expm1, log1p_rest(0.5 * expm1, 0.5 * low_of_expm1), beta);
  D ln2 = LN2 * beta.inverse, ln2_error = product_error(D(LN2), beta.inverse, ln2);
  D ln2_low = fma(LN2, beta.inverse_error, D(LN2_REST)) * beta.inverse + ln2_error;
  D far = (max(D(0), z) - ln2) + (above_relu(z, beta) - ln2_low);
  return flip_sign(select(abs(z) < beta.inverse, near, far), beta.sign);
}

// The same in float: near 0 it is x/2 + ln(cosh(u/2)) / beta. Farther away nothing cancels, where
// ln2/beta is taken off before the last rounding.
// Largest error, ULP   beta = 1      any
//   float32                0.89     1.51
INLINE F shifted_of_float(F x, const ForwardBeta& beta) {
  const F z = flip_sign(x, beta.sign), u = z * beta.size, w = u * u;
  const F near = fma(w * beta.inverse, polynomial(w, LOG_COSH), F(0.5f) * z);
  const F far = softplus_of_single<false>(z, beta);
  return flip_sign(select(abs(u) < F(1.0f), near, far), beta.sign);
}

}  // namespace
}  // namespace softplus
