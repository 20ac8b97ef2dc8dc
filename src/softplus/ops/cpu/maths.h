// The maths of most kernels, once for all types and instruction sets: Softplus, its derivatives and
// its inverse, on one vector. The largest errors above the functions are those of finished results
// on the worst instruction set: for float32 and beta = 1 of all inputs, for the others of some ten
// million; tests/ops/cpu/test_largest_errors.py knows where they are.
//
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "constants.h"
#include "double_segments.h"
#include "segments.h"
#include "vector.h"

namespace softplus {
namespace {

// How many digits to compute: those of bfloat16 and float16, of float32, or of float64.
enum class Digits { half, single, full };

// Where e^v leaves the normal numbers; a result below the smallest of them is zero.
template <class V> constexpr double UNDERFLOW_AT = -87.9;
template <> constexpr double UNDERFLOW_AT<D> = -708.9;

// c[0] + c[1] x + …; a long one as two chains, its even and its odd powers, that run side by side
template <class V, int N>
INLINE V polynomial(V x, const typename V::Type (&c)[N]) {
  if constexpr (N < 8) {
    V p = c[N - 1];
    for (int i = N - 2; i >= 0; i--) p = fma(p, x, V(c[i]));
    return p;
  } else {
    V square = x * x, p = c[N - 1], q = c[N - 2];
    for (int i = N - 3; i >= 0; i -= 2) p = fma(p, square, V(c[i]));
    for (int i = N - 4; i >= 0; i -= 2) q = fma(q, square, V(c[i]));
    return N % 2 ? fma(q, x, p) : fma(p, x, q);
  }
}

// beta = ±(size + size_low), 1 / |beta| = inverse (1 + inverse_error): a beta such as 0.1 has no
// float, and rounding beta*x alone costs 65 ULP at beta*x = -87.
template <class V>
struct Beta {
  using T = typename V::Type;
  V sign, size, size_low, inverse, inverse_error;
  V lowest, lowest_derivative, lowest_curvature;
  Beta() = default;
  explicit INLINE Beta(double beta) {  // inlined, so that a beta of 1 costs nothing at run time
    const double exact = std::fabs(beta);
    sign = std::copysign(T(0), T(beta));
    T high = T(exact), inverse_high = T(1 / exact);
    size = high;
    size_low = T(exact - high);
    inverse = inverse_high;
    inverse_error = T(std::fma(-exact, double(inverse_high), 1.0));  // exact on every machine
    const double log_size = double(std::log((long double)exact));
    const double normal = std::log(2.0) * (Scalar<T>::BIAS - 1);
    lowest_derivative = T((UNDERFLOW_AT<V> - std::fmax(0.0, log_size)) / exact);
    lowest_curvature = T(-(normal + log_size) / exact);
    // a little beyond, so that the result there underflows to zero
    const double bits = Scalar<T>::BIAS + std::ilogb(inverse_high);
    lowest = T(-(std::log(2.0) * bits + 0.01) / exact);
  }
};

// The x at which 2^n / beta, n the exponent of e^(beta*x), leaves the normal numbers.
template <bool UNIT, class V>
INLINE V lowest(const Beta<V>& beta) {
  using T = typename V::Type;
  return UNIT ? V(T(-0.6931471805599453 * Scalar<T>::BIAS)) : beta.lowest;
}

// v = size * x and what rounding left of it.
template <bool UNIT, class V>
INLINE V scaled(V x, const Beta<V>& beta, V& low) {
  low = V(0);
  if constexpr (UNIT) return x;
  V v = x * beta.size;
  low = fma(x, beta.size_low, product_error(x, beta.size, v));
  return v;
}

// Added to a number, this rounds it to an integer n whose low bits then stand in the sum's: n +
// BIAS, so that shifted into place they are 2^n itself.
template <class V> INLINE V magic() {
  using T = typename V::Type;
  return T((sizeof(T) == 4 ? 0x1.8p23 : 0x1.8p52) + Scalar<T>::BIAS);
}

// 2^n, for n from -BIAS on, where it is 0
template <class V> INLINE V power(V n_and_magic) {
  return of_bits<V>(bits(n_and_magic) << Scalar<typename V::Type>::MANTISSA);
}

// 2^n, and 0 where it underflows: with a beta, a product with it may be normal where it is not
template <bool UNIT, class V> INLINE V power_or_zero(V n_and_magic) {
  using T = typename V::Type;
  return power(UNIT ? n_and_magic : max(n_and_magic, magic<V>() - V(T(Scalar<T>::BIAS))));
}

// factor * 2^n
template <class V> INLINE V times_power(V factor, V n_and_magic) {
  return of_bits<V>(bits(factor) - bits(V(1)) + bits(power(n_and_magic)));
}

// e^v = scale (1 + q), scale = 2^n, |q| < 0.42, for v at or above UNDERFLOW_AT. In float64 with a
// low part of v, q + q_low has eight digits more.
template <class V>
struct Exponential {
  V n_and_magic, scale, q, q_low;
  // where fma rounds twice, its product underflows before the sum does
  INLINE V times(V factor) const { return HAS_FMA ? fma(factor, q, factor) : factor * (V(1) + q); }
  INLINE V value() const { return times(scale); }
  // What the sum `rounded` of base + scale*q left out; base is 0 or larger than scale*q.
  INLINE V rest(V base, V rounded) const {
    return fma(scale, q_low, fma(scale, q, base - rounded));
  }
};

// Largest error, ULP   beta = 1      any
//   float32              1.0306        -
//   float64                0.98        -
template <Digits DIGITS, bool HAS_LOW, class V>
INLINE Exponential<V> exponential(V v, V low) {
  using T = typename V::Type;
  V shifted = fma(v, V(T(LOG2E)), magic<V>());
  V n = shifted - magic<V>();
  V r = fma(n, V(-LN2_SHORT<T>), v);
  V r_low = fma(n, V(-LN2_SHORT_REST<T>), low), r_high = r;
  if constexpr (HAS_LOW) r = r_high + r_low;
  else r = fma(n, V(-LN2_SHORT_REST<T>), r);
  V q, q_low = V(0);
  if constexpr (DIGITS == Digits::half) {
    q = r * polynomial(r, EXPM1_HALF);
  } else if constexpr (DIGITS == Digits::single) {
    const V p = polynomial(r, EXPM1_SINGLE);
    if constexpr (HAS_LOW) q = r + fma(r * r, p, r_low + (r_high - r));
    else q = fma(r * r, p, r);
  } else {
    V p = polynomial(r, EXPM1_DOUBLE);
    q = fma(r * r, p, r);
    if constexpr (HAS_LOW) {
      r_low = r_low + (r_high - r);
      q_low = fma(r * r, p, r - q) + fma(r_low, q, r_low);
    }
  }
  return {shifted, power_or_zero<!HAS_LOW>(shifted), q, q_low};
}

// t - ln(1 + t), without cancellation, for t in [-0.42, 1]:
// ln(1 + t) = 2 atanh(z), z = t / (2 + t).
INLINE D log1p_gap(D t) {
  D half_square = 0.5 * t * t, z = t / (2.0 + t), w = z * z;
  D series = polynomial(w, ATANH);
  return fma(-z, fma(w, series, half_square), half_square);
}

// Asks for softplus(x), or softplus(x) - shift, in float32: beta with the table for it.
struct ForwardBeta : Beta<F> {
  Segments segments;
  // EIGHTHS over beta, 2^32 times too large, and what they lack
  alignas(64) float eighths[16], eighths_errors[16];
  F eighths_in_unit, shift, shift_low;
  explicit INLINE ForwardBeta(double beta, bool shifted = false)
      : Beta<F>(beta),
        segments(segments_of(
            1 / std::fabs(beta), std::fabs(beta) / float(std::fabs(beta)) - 1,
            shifted ? LN2 / std::fabs(beta) : 0)) {
    const double size = std::fabs(beta), exact = shifted ? LN2 / size : 0;
    shift = float(exact);
    shift_low = float(exact - float(exact));
    eighths_in_unit = float(-8 * LOG2E * size);
    for (int i = 0; i < 16; i++) {
      const int32_t lacking = (i & 7) << 20;
      const float unit = std::bit_cast<float>(std::bit_cast<int32_t>(EIGHTHS[i]) + lacking);
      const double eighth = double(unit) / size;
      eighths[i] = std::bit_cast<float>(
          std::bit_cast<int32_t>(float(eighth)) + (32 << Scalar<float>::MANTISSA) - lacking);
      eighths_errors[i] = float(eighth / double(float(eighth)) - 1);
    }
  }
};

template <bool UNIT, class OneBeta>
INLINE const Segments& segments_for(const OneBeta& beta) {
  if constexpr (UNIT) return UNIT_SEGMENTS;
  else return beta.segments;
}

// Where some elements are beyond the segments: a = |x| there, softplus(x) = max(0, x) + ln(1 + t) /
// beta, t = e^-|beta x| = T e^-r.
template <bool UNIT, class OneBeta>
INLINE F softplus_beyond_too(F x, F a, F column, Mask<float> is_beyond, const OneBeta& beta) {
  const F magic = F(0x1.8p23f),
          along = select(is_beyond, min(-lowest<UNIT>(beta), a), SIGNED ? x : a);
  const F far = only(is_beyond, along);
  const F per_unit = [&] {
    if constexpr (UNIT) return F(float(-8 * LOG2E));
    else return beta.eighths_in_unit;
  }();
  const F n_and_magic = fma(far, per_unit, magic);
  Beyond beyond = {n_and_magic - magic, F(), F()};
  beyond.low =
      fma(beyond.n, F(LN2_EIGHTH_SHORT_REST), lookup<LOOKUP>(EIGHTHS_CENTRES, bits(n_and_magic)));
  if constexpr (!UNIT) beyond.low = fma(far, beta.size_low, beyond.low);
  const F power = times_eighths(EIGHTHS, UNIT ? n_and_magic : max(n_and_magic, magic - F(8 * 127)));
  const F tail = fma(power, F(1 / 3.f), F(-0.5f)), far_power = only(is_beyond, power);
  beyond.gap = far_power * tail;
  const F linear = only(is_beyond, max(F(0), x));
  const I found = bits(select(is_beyond, F(COLUMN_OF_0 + 7.5f), column));
  const auto [value, rest] = by_segments<2 * LOOKUP, UNIT>(
      segments_for<UNIT>(beta), x - linear, along, found, UNIT ? F(1) : beta.size, &beyond);
  if constexpr (UNIT) {
    return fma(power, rest, far_power) + linear;
  } else {  // 2^32 times too large, so that no part underflows before the sum does
    const F factor = times_eighths(beta.eighths, n_and_magic);
    const F error = lookup<LOOKUP>(beta.eighths_errors, bits(n_and_magic));
    const F low_of_all = fma(beta.shift_low, F(-0x1p32f), (error + rest) * factor);
    const F y = fma(factor + low_of_all, F(0x1p-32f), linear - beta.shift);
    return select(is_beyond, y, value + rest);
  }
}

// By the table while all elements of a vector are within 3.75 / beta; others are rarer, and cost as
// much again.
template <bool UNIT, class OneBeta>
INLINE F softplus_of_single(F x, const OneBeta& beta) {
  const Segments& segments = segments_for<UNIT>(beta);
  const F size = UNIT ? F(1) : beta.size, a = abs(x), along = SIGNED ? x : a, zero = F(COLUMN_OF_0);
  const F column = UNIT ? along + zero : fma(along, size, zero);
  auto whole = [](std::pair<F, F> y) INLINE_LAMBDA { return UNIT ? y.second : y.first + y.second; };
  if (__builtin_expect(!outside(bits(column), std::bit_cast<int32_t>(COLUMN_0), LOOKUP), true))
    return whole(by_segments<LOOKUP, UNIT>(segments, x, along, bits(column), size));
  const auto beyond = UNIT     ? F(7.25f) < a
                      : SIGNED ? F(7) < abs(column - zero)
                               : F(COLUMN_0 + 7) < column;
  if (any(beyond)) return one_nan(softplus_beyond_too<UNIT>(x, a, column, beyond, beta));
  return one_nan(whole(by_segments<2 * LOOKUP, UNIT>(segments, x, along, bits(column), size)));
}

// What Softplus lies above max(0, x) in the digits of the half types, by the first N segments of a
template <int N>
INLINE F half_above_relu(F a, I segment) {
  F p = lookup<N>(HALF_SEGMENTS[0], segment);
  for (int i = 1; i < 4; i++) p = fma(p, a, lookup<N>(HALF_SEGMENTS[i], segment));
  return p;
}

// Beyond the segments, with t = e^-|beta*x|, (t - t^2/2 + t^3/3) / beta + max(0, x)
template <bool UNIT>
INLINE F half_beyond_segments(F x, const Beta<F>& beta) {
  const F v = max(minus_abs(x), lowest<UNIT>(beta));
  const auto e = exponential<Digits::single, !UNIT>(UNIT ? v : v * beta.size, F(0));
  const F t = e.value(), power = F(1) + e.q;
  const F all = fma(power, t * fma(t, F(1 / 3.f), F(-0.5f)), power);
  const F linear = max(F(0), x);
  if constexpr (UNIT) return fma(all, times_power(F(1), e.n_and_magic), linear);
  // 2^32 times too large, so that it does not underflow before the product does
  const F factor = times_power(beta.inverse * F(0x1p32f), e.n_and_magic);
  return fma(all * F(0x1p-32f), factor, linear);
}

// softplus(x) in the digits of the half types
template <bool UNIT>
INLINE F softplus_of_half(F x, const Beta<F>& beta) {
  constexpr float SEGMENT_0 = 0x1.8p23f;  // added to a number, this rounds it to an integer
  const F a = abs(UNIT ? x : x * beta.size), linear = max(F(0), x);
  const I segment = bits(fma(a, F(HALF_SEGMENTS_IN_A_UNIT), F(SEGMENT_0)));
  auto whole = [&](F p) INLINE_LAMBDA { return UNIT ? p + linear : fma(p, beta.inverse, linear); };
  const auto first = std::bit_cast<int32_t>(SEGMENT_0);
  if (__builtin_expect(!outside(segment, first, LOOKUP), true))
    return whole(half_above_relu<LOOKUP>(a, segment));
  const F y = whole(half_above_relu<16>(a, segment));
  if (!outside(segment, first, 16)) return y;  // nor is any of them NaN
  const auto beyond = F(15.49f / HALF_SEGMENTS_IN_A_UNIT) < a;
  return one_nan(select(beyond, half_beyond_segments<UNIT>(x, beta), y));
}

// ln(1 + t + t_low) - t: for the low part 1 - t/2 is near enough to the derivative 1 / (1 + t)
INLINE D log1p_rest(D t, D t_low) { return fma(t_low, -0.5 * t, t_low) - log1p_gap(t); }

// (high + low) / |beta|
INLINE D over_beta(D high, D low, const Beta<D>& beta) {
  D sum = high + low;
  low = (high - sum) + low;
  D y = sum * beta.inverse, rest = fma(sum, beta.inverse * beta.inverse_error, low * beta.inverse);
  return y + (product_error(sum, beta.inverse, y) + rest);
}

// A number in two parts
struct Sum {
  D high, low;
};

// ln(1 + t), t the value of e
INLINE Sum log1p_of(const Exponential<D>& e, D t) {
  // scale 1, t > 0.7: ln 2 + ln(1 + q/2), for the gap of a large t has too large an error
  const auto near_zero = D(0.75) < e.scale;
  D f = select(near_zero, 0.5 * e.q, t);
  D f_low = select(near_zero, 0.5 * e.q_low, e.rest(e.scale, t));
  D base = select(near_zero, D(LN2), D(0)), high = base + f;
  return {high, ((base - high) + f) + log1p_rest(f, f_low)};
}

// ln(1 + e^(-|beta*x|)) / |beta|: what Softplus lies above max(0, x)
INLINE D above_relu(D x, const Beta<D>& beta) {
  D low, v = scaled<false>(max(minus_abs(x), lowest<false>(beta)), beta, low);
  auto e = exponential<Digits::full, true>(v, low);
  Sum log = log1p_of(e, e.value());
  D y = over_beta(log.high, log.low, beta);
  const auto part_underflows = v < D(-600);  // ln(1 + t) = t there
  if (any(part_underflows)) {  // 2^60 times too large, so that no part does before the sum
    D factor = times_power(beta.inverse * D(0x1p60), e.n_and_magic), power = D(1) + e.q;
    D rest = ((D(1) - power) + e.q) + (e.q_low + beta.inverse_error);
    y = select(part_underflows, fma(power, factor, rest * factor) * D(0x1p-60), y);
  }
  return y;
}

// ln(1 + e^-a) for a > 7.4: t (1 + s), t = e^-a, with one rounding less
INLINE D above_relu_beyond(D a) {
  const auto e = exponential<Digits::full, false>(max(-a, lowest<true>(Beta<D>())), D(0));
  const D t = e.value(), s = t * polynomial(t, {-1 / 2., 1 / 3., -1 / 4., 1 / 5.});
  return fma(e.scale, e.q + fma(s, e.q, s), e.scale);
}

// softplus(x) for beta = 1. An element's result does not depend on the others of its block: which
// of the three ways the block takes is a matter of time alone.
INLINE D softplus_of_double(D x, const Beta<D>& beta) {
  const D linear = max(D(0), x);
  if constexpr (HAS_FMA) {
    const D a = abs(x);
    if (!any(D(ROWS_AT_ONCE - 0.51) < a)) return by_segments<ROWS_AT_ONCE>(a) + linear;
    const auto beyond = D(7.49) < a;
    D y = by_segments<8>(a);
    if (any(beyond)) y = select(beyond, above_relu_beyond(a), y);
    return y + linear;
  } else {
    const D v = max(minus_abs(x), lowest<true>(beta));
    auto e = exponential<Digits::full, false>(v, D(0));
    D part = e.scale * e.q, rest = part - log1p_gap(e.scale + part);
    D y = max(e.scale, linear) + (min(e.scale, linear) + rest);
    const auto part_underflows = v < D(-600);  // ln(1 + t) = t there
    return any(part_underflows) ? select(part_underflows, linear + e.value(), y) : y;
  }
}

// Largest error, ULP   beta = 1      any
//   float32              0.9438     1.63
//   float64                1.91     1.58
//   bfloat16                0.5     0.52
//   float16                 0.5     0.63
template <Digits DIGITS, bool UNIT, class V, class OneBeta>
INLINE V softplus(V x, const OneBeta& beta) {
  if constexpr (!UNIT) x = flip_sign(x, beta.sign);
  V y;
  if constexpr (DIGITS == Digits::single) y = softplus_of_single<UNIT>(x, beta);
  else if constexpr (DIGITS == Digits::half) y = softplus_of_half<UNIT>(x, beta);
  else if constexpr (UNIT) y = softplus_of_double(x, beta);
  else y = max(V(0), x) + above_relu(x, beta);
  return UNIT ? y : flip_sign(y, beta.sign);
}

// x = ln(e^v - 1) / beta, v = beta*y: ln(expm1(v)) for small v, ln(1 + 2 expm1(v - ln2)) around
// the zero at ln 2, v + ln(1 - e^-v) for large v. Each logarithm is that of 1 + f + f_low, times
// 2^k.
// Largest error, ULP   beta = 1      any
//   float32              0.5001   0.5001
//   float64                1.46     1.49
INLINE D inverse(D y, const Beta<D>& beta) {
  D z = flip_sign(y, beta.sign), low, v = scaled<false>(z, beta, low);
  low = select(v < D(40), low, D(0));
  auto large = D(1) < v, small = v < D(0.46);
  D from_ln2 = v - D(LN2), from_ln2_low = low - D(LN2_REST), a_around = from_ln2 + from_ln2_low;
  D a = select(large, max(-v, D(-700)), select(small, v, a_around));
  D a_low = select(large, -low, select(small, low, (from_ln2 - a_around) + from_ln2_low));
  auto power = exponential<Digits::full, true>(a, a_low);
  D base = power.scale - select(large, D(0), D(1)), e = fma(power.scale, power.q, base);
  D e_low = power.rest(base, e);
  // small v: e = 2^k (1 + f), scaled up by 2^54 from where it may be subnormal
  auto tiny = e < D(0x1p-960);
  D normal = select(tiny, e * D(0x1p54), e);
  auto exponent = (bits(normal) - bits(D(0x1.6a09e667f3bcdp-1))) >> 52;
  D k = select(small, to_double(exponent) - select(tiny, D(54), D(0)), D(0));
  D f = of_bits<D>(bits(normal) - (exponent << 52)) - D(1);
  f = select(large, -e, select(small, f, 2.0 * e));
  D relative = e_low / select(large, e - D(1), select(small, e, D(0.5) + e));  // f_low / (1 + f)
  D exact = k * D(LN2_SHORT<double>), log = exact + f;
  D log_low = ((exact - log) + f) + (fma(k, D(LN2_SHORT_REST<double>), relative) - log1p_gap(f));
  D x = select(large, z, D(0)) + over_beta(log, log_low, beta);
  x = select(z < D(0x1p-1074), select(z < D(0), D(NAN), D(-INFINITY)), x);
  x = select(D(std::numeric_limits<double>::max()) < z, z, x);
  return flip_sign(x, beta.sign);
}

}  // namespace
}  // namespace softplus
