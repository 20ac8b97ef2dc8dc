// The derivatives of Softplus, from its output or from its input, on one vector.
#pragma once

#include "maths.h"

namespace softplus {
namespace {

// s = sigmoid(beta*x), and what double backward multiplies with: |beta| (1 - s), or
// |beta| s (1 - s).
template <class V>
struct Derivative {
  V s, curvature;
};

// |beta| e^v, normal where e^v may not be; zero from where it underflows itself.
template <class V>
INLINE V weighted(const Exponential<V>& e, V x, const Beta<V>& beta) {
  using T = typename V::Type;
  // 2^24 times too large, so that no part underflows before the product does
  V large = e.times(times_power(beta.size * V(T(0x1p24)), e.n_and_magic));
  return select(x < beta.lowest_curvature, V(0), large * V(T(0x1p-24)));
}

// From y = softplus(x): s = -expm1(-beta*y), 1 - s = e^(-beta*y). The error of s counts that of y.
template <Digits DIGITS, bool UNIT, class V>
INLINE Derivative<V> derivative_of_output(V y, const Beta<V>& beta) {
  using T = typename V::Type;
  if constexpr (!UNIT) y = flip_sign(y, beta.sign);
  const V lowest = UNIT ? V(T(UNDERFLOW_AT<V>)) : beta.lowest_derivative;
  V low, v = scaled<UNIT>(max(lowest, -y), beta, low);
  auto e = exponential<DIGITS, !UNIT>(v, low);
  return {fma(-e.scale, e.q, V(1) - e.scale), UNIT ? e.value() : weighted(e, -y, beta)};
}

// sigmoid(x) = 1 - e^-y for y = softplus(x) and beta = 1: -y = n ln2/8 + d + r, d the centre of the
// eighth. By a table |r| is small: 8 FMAs and multiplications in all, 11 with n ln2 + r.
INLINE F sigmoid_in_eighths(F y) {
  y = min(F(17.4f), y);  // in this order NaN stays; from there on it is 1
  const F magic = F(0x1.8p23f), shifted = fma(y, F(float(-8 * LOG2E)), magic);
  const I n = bits(shifted);
  const F r = fma(shifted - magic, F(-LN2_FLOAT / 8), -y) - lookup<LOOKUP>(EIGHTHS_CENTRES, n);
  const F eighth = lookup<LOOKUP>(EIGHTHS, n);
  const F power = of_bits<F>(bits(eighth) + (n << 20));
  return fma(-power, fma(r * r, polynomial(r, EXPM1_EIGHTH), r), F(1) - power);
}

// The error counts that of y.
// Largest error, ULP   beta = 1      any
//   float32              1.8314     2.38
//   float64                2.30     2.47
template <Digits DIGITS, bool UNIT, class V>
INLINE V sigmoid_of_output(V y, const Beta<V>& beta) {
  if constexpr (DIGITS == Digits::single && UNIT && HAS_FMA) return sigmoid_in_eighths(y);
  else return derivative_of_output<DIGITS, UNIT>(y, beta).s;
}

// s and the curvature from x, without cancellation on either side.
// Largest error, ULP   beta = 1      any
//   float32              1.8335     1.84
//   float64                1.88     1.98
template <Digits DIGITS, class V>
INLINE Derivative<V> derivative_of_input(V x, const Beta<V>& beta) {
  x = flip_sign(x, beta.sign);
  V low, v = scaled<false>(max(beta.lowest_derivative, minus_abs(x)), beta, low);
  auto e = exponential<DIGITS, true>(v, low);
  V t = e.value(), one = V(1), other = t / (one + t), larger = select(x < V(0), t, one);
  // t / (1 + t) = t (1 - t / (1 + t)), where the rounding of 1 + t counts t times only
  return {fma(-larger, other, larger), weighted(e, minus_abs(x), beta) / ((one + t) * (one + t))};
}

// a b c where the order matters: of two gradients whose product overflows, the smaller one first.
template <class V>
INLINE V product(V a, V b, V c) {
  auto a_smaller = abs(a) < abs(b);
  return times(select(a_smaller, a, b) * c, select(a_smaller, b, a));
}

}  // namespace
}  // namespace softplus
