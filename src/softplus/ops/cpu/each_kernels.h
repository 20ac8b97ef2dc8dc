// The kernels with a beta for each element: float32 and the half types in float, where there is
// FMA, float64 in double; the double backward pass in double.
#pragma once

#include <limits>

#include "derivatives.h"
#include "dtypes.h"
#include "each.h"
#include "each_in_float.h"
#include "loop.h"

namespace softplus {
namespace {

// Of these kernels the number is whether the shifted form is meant, and B the type of beta.
struct ByShift {};

// A beta for each element, of V = D or F: of a run of one beta, a channel or a number for all, what
// it needs is made once.
template <class V>
struct BetaOfEach {
  V last = 1;
  Beta<V> of;
  bool reverts;
  V threshold;
  explicit INLINE BetaOfEach(const Parameters& p)
      : reverts(p.threshold < 20 && !p.shifted), threshold(typename V::Type(p.threshold)) {}
  INLINE V reverted(V x, V to, V y) const {
    if (!reverts) return y;
    return select(threshold < flip_sign(x, of.sign) * of.size, to, y);
  }
};

template <Digits DIGITS>
struct EachInDouble : BetaOfEach<D> {
  explicit INLINE EachInDouble(const Parameters& p) : BetaOfEach<D>(p) {
    of = beta_of_each<DIGITS>(last);
  }
  INLINE const Beta<D>& at(D b) {
    if (differ(b, last)) {
      last = b;
      of = beta_of_each<DIGITS>(b);
    }
    return of;
  }
};

// FUNCTION(x, beta), on doubles. Called, as it is rare; by values, for with a pointer to it what
// follows would be in memory, and to make a beta anew would take three times as long.
template <D (&FUNCTION)(D, const Beta<D>&)>
__attribute__((noinline)) F by_doubles(F x, F beta, F beta_low) {
  const F low = only(abs(beta) < F(INFINITY), beta_low);
#pragma GCC unroll 1
  for (int k = 0; k < REGISTERS; k++) {
    const D exact = widen(beta.part[k]) + widen(low.part[k]);
    x.part[k] = narrow(FUNCTION(widen(x.part[k]), beta_of_each<Digits::single>(exact)));
  }
  return x;
}

// In float what is not of 2^-50 to 2^50 in magnitude goes through double, element by element.
struct EachInFloat : BetaOfEach<F> {
  static constexpr float LARGEST = 0x1p50f;
  F last_low = 0;
  bool extreme = false;  // whether any of them is none of those
  explicit INLINE EachInFloat(const Parameters& p) : BetaOfEach<F>(p) {
    of = beta_of_each(last, last_low);
  }
  INLINE const Beta<F>& at(F b, F b_low) {
    if (outside((bits(b) ^ bits(last)) | (bits(b_low) ^ bits(last_low)), 0, 1)) {
      last = b;
      last_low = b_low;
      of = beta_of_each(b, b_low);
      extreme = any(is_extreme());
    }
    return of;
  }
  INLINE Mask<float> is_extreme() const { return F(LARGEST) < max(of.size, of.inverse); }
  template <D (&FUNCTION)(D, const Beta<D>&)> INLINE F in_double(F x) const {
    return by_doubles<FUNCTION>(x, last, last_low);
  }
};

// In double, for results in float: y, dy/dx and dy/dbeta
template <bool SHIFTED> INLINE D value_of_each(D x, const Beta<D>& beta) {
  return SHIFTED ? shifted_in_double<Digits::single>(x, beta)
                 : softplus_in_double<Digits::single>(x, beta);
}
template <bool SHIFTED> INLINE D slope_of_each(D x, const Beta<D>& beta) {
  return derivative_of_both<Digits::single>(x, beta, SHIFTED).s;
}
template <bool SHIFTED> INLINE D to_beta_of_each(D x, const Beta<D>& beta) {
  const D largest = std::numeric_limits<float>::max();  // infinity times 0 would be NaN
  return max(-largest, min(largest, derivative_of_both<Digits::single>(x, beta, SHIFTED).to_beta));
}

// Whether a dtype computes in float where beta is for each element
template <class S> constexpr bool EACH_IN_FLOAT = S::DIGITS != Digits::full && HAS_FMA;

struct ForwardEach : ByShift {
  template <class S, int SHIFTED, class B>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    if constexpr (EACH_IN_FLOAT<S>) {
      EachInFloat each(p);
      const char* const inputs[] = {in[0], in[1], in[1]};
      const Types<InOrder<S>, Rounded<B>, RestOf<B>> types;
      map(types, Types<InOrder<S>>(), inputs, out, n, p, [&](const F* x, F* y) INLINE_LAMBDA {
        const Beta<F>& beta = each.at(x[1], x[2]);
        y[0] = SHIFTED ? shifted_in_float(x[0], beta) : softplus_in_float(x[0], beta);
        if (__builtin_expect(each.extreme, false)) {
          const F exact = each.in_double<value_of_each<SHIFTED>>(x[0]);
          y[0] = select(each.is_extreme(), exact, y[0]);
        }
        y[0] = each.reverted(x[0], x[0], y[0]);
      });
    } else {
      using T = InDouble<S>;
      EachInDouble<T::DIGITS> each(p);
      map(Types<T, InDouble<B>>(), Types<T>(), in, out, n, p, [&](const D* x, D* y) INLINE_LAMBDA {
        const Beta<D>& beta = each.at(x[1]);
        y[0] = SHIFTED ? shifted_in_double<T::DIGITS>(x[0], beta)
                       : softplus_in_double<T::DIGITS>(x[0], beta);
        y[0] = each.reverted(x[0], x[0], y[0]);
      });
    }
  }
};

struct BackwardEach : ByShift {
  template <class S, int SHIFTED, class B>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    if constexpr (EACH_IN_FLOAT<S>) {
      using T = InOrder<S>;
      EachInFloat each(p);
      const char* const inputs[] = {in[0], in[1], in[2], in[2]};
      const Types<T, T, Rounded<B>, RestOf<B>> types;
      const Types<T, Rounded<B>> results;
      map(types, results, inputs, out, n, p, [&](const F* x, F* y) INLINE_LAMBDA {
        auto d = first_of_both<SHIFTED>(x[1], each.at(x[2], x[3]));
        if (__builtin_expect(each.extreme, false)) {
          const auto extreme = each.is_extreme();
          const F s = each.in_double<slope_of_each<SHIFTED>>(x[1]);
          const F to_beta = each.in_double<to_beta_of_each<SHIFTED>>(x[1]);
          d = {select(extreme, s, d.s), select(extreme, to_beta, d.to_beta)};
        }
        y[0] = each.reverted(x[1], x[0], times(x[0], d.s));
        y[1] = each.reverted(x[1], F(0), times(x[0], d.to_beta));
      });
    } else {
      using T = InDouble<S>;
      using TB = InDouble<B>;
      EachInDouble<T::DIGITS> each(p);
      const Types<T, T, TB> inputs;
      map(inputs, Types<T, TB>(), in, out, n, p, [&](const D* x, D* y) INLINE_LAMBDA {
        auto d = derivative_of_both<T::DIGITS>(x[1], each.at(x[2]), SHIFTED);
        y[0] = each.reverted(x[1], x[0], times(x[0], d.s));
        y[1] = each.reverted(x[1], D(0), times(x[0], d.to_beta));
      });
    }
  }
};

struct DoubleBackwardEach : ByShift {
  template <class S, int SHIFTED, class B>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using T = InDouble<S>;
    using TB = InDouble<B>;
    EachInDouble<T::DIGITS> each(p);
    const Types<T, TB, T, T, TB> inputs;
    map(inputs, Types<T, T, TB>(), in, out, n, p, [&](const D* x, D* y) INLINE_LAMBDA {
      auto d = derivative_of_both<T::DIGITS>(x[3], each.at(x[4]), SHIFTED);
      y[0] = each.reverted(x[3], x[0], x[0] * d.s + x[1] * d.to_beta);
      const D to_x = product(x[0], x[2], d.twice_x) + product(x[1], x[2], d.mixed);
      const D to_b = product(x[0], x[2], d.mixed) + product(x[1], x[2], d.twice_beta);
      y[1] = each.reverted(x[3], D(0), to_x);
      y[2] = each.reverted(x[3], D(0), to_b);
    });
  }
};

}  // namespace
}  // namespace softplus
