// The kernels of one instruction set: the maths carried over contiguous memory.
// Compiled once for each, with its flags, -DISA=its name and -DTARGET=its file in targets/; no
// torch header, so that no inline function of torch is ever compiled for an instruction set the CPU
// may lack.
#include "kernels.h"

#include <type_traits>

#include "derivatives.h"
#include "dtypes.h"
#include "each_kernels.h"
#include "loop.h"
#include "maths.h"
#include "shifted.h"

namespace softplus {
namespace {

// f on float64, whatever the storage type: for functions whose price nobody pays in every layer.
template <class V, class Function>
INLINE V in_double(V x, Function f) {
  if constexpr (V::SIZE == D::SIZE) {
    return f(x);
  } else {
#pragma GCC unroll 1
    for (Floats& part : x.part) part = narrow(f(widen(part)));
    return x;
  }
}

// beta*x above the threshold, compared as PyTorch does: in the type that the dtype computes in
template <class V>
INLINE auto above(V x, const Parameters& p) {
  using T = typename V::Type;
  return V(T(p.threshold < 20 ? p.threshold : INFINITY)) < x * V(T(p.beta));
}

template <bool NEGATED, class V>
INLINE V negated_if(V x) {
  return NEGATED ? -x : x;
}

// Whether the forward pass of a dtype runs in double: the short cuts need FMA.
template <class S>
constexpr bool BY_DOUBLE = S::DIGITS != Digits::full && !HAS_FMA;

// The type that it computes in
template <class S>
using ForwardIn = std::conditional_t<BY_DOUBLE<S>, D, typename S::V>;

// Its beta, 1 or any
template <class S, bool UNIT>
using BetaOf = std::conditional_t<
    BY_DOUBLE<S> || UNIT || S::DIGITS != Digits::single, Beta<ForwardIn<S>>, ForwardBeta>;

// softplus(x), to be rounded once more where S is a half type
template <class S, bool UNIT>
INLINE typename S::V value(typename S::V x, const BetaOf<S, UNIT>& beta) {
  if constexpr (!BY_DOUBLE<S>) return softplus<S::DIGITS, UNIT>(x, beta);
  else
    return in_double(x, [&](D v) INLINE_LAMBDA {
      D y = softplus<Digits::full, UNIT>(v, beta);
      return S::DIGITS == Digits::half ? round_to_odd(y) : y;
    });
}

// Each kernel below is a struct: `run` for one dtype S, and for BETA, which is beta where that is 1
// or -1 and no threshold is in effect (it saves from a quarter to half of the operations), and 0
// otherwise, as in all kernels that are not ByBeta.
struct ByBeta {
  static constexpr bool APART_WHERE_POSITIVE = false;
};
// BETA where another beta is positive and no threshold is in effect: of the kernels that ask for it
constexpr int POSITIVE = 2;

struct Forward : ByBeta {
  // 6 of 23 operations serve the sign and the threshold.
  static constexpr bool APART_WHERE_POSITIVE = true;
  template <class S, int BETA>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    constexpr bool NEGATED = BETA < 0, UNIT = BETA == 1 || NEGATED;
    BetaOf<S, UNIT> beta(UNIT ? 1 : p.beta);
    if constexpr (BETA > 0) beta.sign = 0;
    constexpr bool MAY_BE_NAN = BETA <= 0 || S::DIGITS == Digits::full || BY_DOUBLE<S>;
    map<MAY_BE_NAN>(Types<S>(), Types<S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
      y[0] = negated_if<NEGATED>(value<S, UNIT>(negated_if<NEGATED>(x[0]), beta));
      if constexpr (!BETA) y[0] = select(above(x[0], p), x[0], y[0]);
    });
  }
};

struct BackwardOfOutput : ByBeta {
  template <class S, int BETA>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    constexpr bool NEGATED = BETA < 0;
    const Beta<V> beta(BETA ? 1 : p.beta);
    map(Types<S, S>(), Types<S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
      const V output = negated_if<NEGATED>(x[1]);
      y[0] = times(x[0], sigmoid_of_output<S::DIGITS, BETA != 0>(output, beta));
    });
  }
};

struct BackwardOfInput {
  template <class S, int>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    const Beta<V> beta(p.beta);
    map(Types<S, S>(), Types<S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
      V s = derivative_of_input<S::DIGITS>(x[1], beta).s;
      y[0] = select(above(x[1], p), x[0], times(x[0], s));
    });
  }
};

struct DoubleBackwardOfOutput : ByBeta {
  template <class S, int BETA>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    constexpr bool NEGATED = BETA < 0;
    const Beta<V> beta(BETA ? 1 : p.beta);
    map(Types<S, S, S>(), Types<S, S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
      const V output = negated_if<NEGATED>(x[2]);
      auto d = derivative_of_output<S::DIGITS, BETA != 0>(output, beta);
      y[0] = times(x[0], d.s);
      const V second = BETA ? negated_if<NEGATED>(times(x[0] * d.curvature, x[1]))
                            : product(x[0], x[1], flip_sign(d.curvature, beta.sign));
      y[1] = p.to_input ? times(second, d.s) : second;
    });
  }
};

struct DoubleBackwardOfInput {
  template <class S, int>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    const Beta<V> beta(p.beta);
    map(Types<S, S, S>(), Types<S, S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
      auto d = derivative_of_input<S::DIGITS>(x[2], beta);
      auto linear = above(x[2], p);
      y[0] = select(linear, x[0], times(x[0], d.s));
      y[1] = select(linear, V(0), product(x[0], x[1], flip_sign(d.curvature, beta.sign)));
    });
  }
};

struct Shifted {
  template <class S, int>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    constexpr Digits DIGITS = S::DIGITS == Digits::full ? Digits::full : Digits::single;
    if (BY_DOUBLE<S> || S::DIGITS == Digits::full || !std::isnan(p.shift)) {
      const Beta<D> beta(p.beta);
      const bool to_zero = std::isnan(p.shift);
      map(Types<S>(), Types<S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
        y[0] = in_double(x[0], [&](D v) INLINE_LAMBDA {
          return to_zero ? shifted_in_double<DIGITS>(v, beta)
                         : softplus_in_double<DIGITS>(v, beta) - D(p.shift);
        });
      });
    } else if constexpr (S::DIGITS != Digits::full && !BY_DOUBLE<S>) {
      const ForwardBeta beta(p.beta, true);
      map(Types<S>(), Types<S>(), in, out, n, p,
          [&](const V* x, V* y) INLINE_LAMBDA { y[0] = shifted_of_float(x[0], beta); });
    }
  }
};

struct Inverse {
  template <class S, int>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    const Beta<D> beta(p.beta);
    map(Types<S>(), Types<S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
      y[0] = in_double(x[0], [&](D v) INLINE_LAMBDA { return inverse(v, beta); });
    });
  }
};

struct LogSigmoid {
  template <class S, int>
  static void run(In in, Out out, int64_t n, const Parameters& p) {
    using V = typename S::V;
    const BetaOf<S, true> beta(1);
    map(Types<S>(), Types<S, S>(), in, out, n, p, [&](const V* x, V* y) INLINE_LAMBDA {
      y[0] = -value<S, true>(-x[0], beta);
      V v = max(V(typename V::Type(UNDERFLOW_AT<V>)), minus_abs(x[0]));
      y[1] = exponential<S::DIGITS, false>(v, V(0)).value();
    });
  }
};

// What a kernel is for every dtype and beta
template <class K>
void kernel_of(Dtype dtype, In in, Out out, int64_t n, const Parameters& p) {
  each_dtype(dtype, [&](auto s) {
    using S = decltype(s);
    if constexpr (std::is_base_of_v<ByBeta, K>) {
      const bool exact = !(p.threshold < 20);
      if (exact && p.beta == 1) return K::template run<S, 1>(in, out, n, p);
      if (exact && p.beta == -1) return K::template run<S, -1>(in, out, n, p);
      if constexpr (K::APART_WHERE_POSITIVE) {
        if (exact && p.beta > 0) return K::template run<S, POSITIVE>(in, out, n, p);
      }
    }
    if constexpr (std::is_base_of_v<ByShift, K>) {
      const auto run = [&](auto beta) {
        using B = decltype(beta);
        if (p.shifted) K::template run<S, 1, B>(in, out, n, p);
        else K::template run<S, 0, B>(in, out, n, p);
      };
      if constexpr (S::DIGITS != Digits::full) {
        if (p.single) return run(Float32{});
      }
      run(Float64{});
    } else {
      K::template run<S, 0>(in, out, n, p);
    }
  });
}

template <class K>
void flushing(Dtype dtype, In in, Out out, int64_t n, const Parameters& p) {
  FlushSubnormals flush;
  kernel_of<K>(dtype, in, out, n, p);
}

}  // namespace

#define STRING(x) #x
#define NAME(x) STRING(x)
extern const Kernels ISA = {
    .name = NAME(ISA),
    .forward = flushing<Forward>,
    .backward_of_output = flushing<BackwardOfOutput>,
    .backward_of_input = flushing<BackwardOfInput>,
    .double_backward_of_output = flushing<DoubleBackwardOfOutput>,
    .double_backward_of_input = flushing<DoubleBackwardOfInput>,
    .shifted = flushing<Shifted>,
    .inverse = kernel_of<Inverse>,  // the inverse of a subnormal is an ordinary number
    .log_sigmoid = flushing<LogSigmoid>,
    .forward_each = flushing<ForwardEach>,
    .backward_each = flushing<BackwardEach>,
    .double_backward_each = flushing<DoubleBackwardEach>,
};

}  // namespace softplus
