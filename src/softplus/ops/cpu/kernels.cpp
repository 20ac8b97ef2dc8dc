// The kernels of one instruction set: loops that carry the maths over contiguous memory.
// Compiled once for each, with its flags and -DISA=baseline, avx2 or avx512; no torch header, so
// that no inline function of torch is ever compiled for an instruction set the CPU may lack.
#include "kernels.h"

#include <type_traits>

#include "maths.h"

namespace softplus {
namespace {

// A storage type: the vector it computes in, the digits it needs, and the way in and out.
struct Float32 {
  using Element = float;
  using V = F;
  static constexpr Digits DIGITS = Digits::single;
  static INLINE F load(const float* p) { return F::load(p); }
  static INLINE void store(float* p, F x, bool around_cache) { x.store(p, around_cache); }
};

struct Float64 {
  using Element = double;
  using V = D;
  static constexpr Digits DIGITS = Digits::full;
  static INLINE D load(const double* p) { return D::load(p); }
  static INLINE void store(double* p, D x, bool around_cache) { x.store(p, around_cache); }
};

// A bfloat16 is the upper half of a float. Elements of even and odd index go to different
// registers, which costs less than keeping their order.
struct BFloat16 {
  using Element = uint16_t;
  using V = F;
  static constexpr Digits DIGITS = Digits::half;
  static INLINE F load(const uint16_t* p) {
    const Ints pairs = *(const Register<int32_t>::unaligned*)p;
    I x;
    x.part[0] = pairs << 16;
    x.part[1] = pairs & int32_t(0xffff0000);
    return of_bits<F>(x);
  }
  static INLINE void store(uint16_t* p, F x, bool around_cache) {
    I b = bits(x);
    b = b + ((b >> 16) & I(1)) + I(0x7fff);  // to nearest even; a NaN of these kernels stays one
    const Ints even = (Ints)((Register<uint32_t>::type)b.part[0] >> 16);
    put((Register<int32_t>::unaligned*)p, even | (b.part[1] & int32_t(0xffff0000)), around_cache);
  }
};

struct Float16 {
  using Element = uint16_t;
  using V = F;
  static constexpr Digits DIGITS = Digits::half;
  static INLINE F load(const uint16_t* p) {
    F x;
#if defined(__AVX512F__)
    EACH x.part[k] = (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p + k));
#elif defined(__F16C__)
    EACH x.part[k] = (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p + k));
#else
    uint16_t halves[F::SIZE];  // copied, for memory need not be aligned even to two bytes
    memcpy(halves, p, sizeof halves);
    for (int i = 0; i < F::SIZE; i++) x.part[i / 4][i % 4] = to_float(halves[i]);
#endif
    return x;
  }
  static INLINE void store(uint16_t* p, F x, bool around_cache) {
#if defined(__AVX512F__)
    EACH {
      const __m256i half = _mm512_cvtps_ph((__m512)x.part[k], _MM_FROUND_TO_NEAREST_INT);
      if (around_cache) _mm256_stream_si256((__m256i*)p + k, half);
      else _mm256_storeu_si256((__m256i*)p + k, half);
    }
#elif defined(__F16C__)
    __m128i half[2];
    EACH half[k] = _mm256_cvtps_ph((__m256)x.part[k], _MM_FROUND_TO_NEAREST_INT);
    put((Register<int32_t>::unaligned*)p, (Ints)_mm256_set_m128i(half[1], half[0]), around_cache);
#else
    (void)around_cache;
    uint16_t halves[F::SIZE];
    for (int i = 0; i < F::SIZE; i++) halves[i] = of_float(x.part[i / 4][i % 4]);
    memcpy(p, halves, sizeof halves);
#endif
  }
  static float to_float(uint16_t h) {
    uint32_t sign = uint32_t(h & 0x8000) << 16, rest = h & 0x7fff;
    float small = float(int(rest)) * 0x1p-24f;  // a subnormal half
    uint32_t b = rest >= 0x7c00 ? 0x7f800000 | (rest & 0x3ff) << 13 : (rest << 13) + (112 << 23);
    if (rest < 0x400) memcpy(&b, &small, 4);
    b |= sign;
    float x;
    memcpy(&x, &b, 4);
    return x;
  }
  static uint16_t of_float(float x) {
    uint32_t b;
    memcpy(&b, &x, 4);
    uint16_t sign = b >> 16 & 0x8000;
    b &= 0x7fffffff;
    if (b > 0x7f800000) return sign | 0x7e00;
    if (b >= 0x477ff000) return sign | 0x7c00;  // 65520 and above round to infinity
    if (b < 0x38800000) {  // subnormal: adding 0.5 rounds to multiples of 2^-24
      memcpy(&x, &b, 4);
      x += 0.5f;
      memcpy(&b, &x, 4);
      return sign | (b - 0x3f000000);
    }
    return sign | (b - (112 << 23) + 0xfff + (b >> 13 & 1)) >> 13;
  }
};

// out[j][i] = f(in[0][i], …)[j] for i < n. The last few elements go through the same loop, in padded
// copies: an element's result does not depend on its place.
template <class S, int IN, int OUT, class Function>
INLINE void map(const void* const (&in)[IN], void* const (&out)[OUT], int64_t n, const Parameters& p, Function f) {
  using E = typename S::Element;
  using V = typename S::V;
  constexpr int SIZE = V::SIZE;
  E padded_in[IN][SIZE] = {}, padded_out[OUT][SIZE];
  bool around_cache = p.around_cache;
  for (int j = 0; j < OUT; j++) around_cache &= uintptr_t(out[j]) % REGISTER == 0;
  for (int64_t i = 0; i < n; i += SIZE) {
    const bool whole = n - i >= SIZE;
    if (!whole) {
      for (int j = 0; j < IN; j++) memcpy(padded_in[j], (const E*)in[j] + i, (n - i) * sizeof(E));
    }
    V x[IN], y[OUT];
    for (int j = 0; j < IN; j++) x[j] = S::load(whole ? (const E*)in[j] + i : padded_in[j]);
    f(x, y);
    for (int j = 0; j < OUT; j++) S::store(whole ? (E*)out[j] + i : padded_out[j], y[j], whole && around_cache);
    if (!whole) {
      for (int j = 0; j < OUT; j++) memcpy((E*)out[j] + i, padded_out[j], (n - i) * sizeof(E));
    }
  }
#if defined(__SSE2__)
  if (around_cache) _mm_sfence();
#endif
}

template <class F>
INLINE void each_dtype(Dtype dtype, F f) {
  switch (dtype) {
    case Dtype::float32: return f(Float32{});
    case Dtype::float64: return f(Float64{});
    case Dtype::bfloat16: return f(BFloat16{});
    case Dtype::float16: return f(Float16{});
  }
}

// f on float64, whatever the storage type: for functions whose price nobody pays in every layer.
template <class V, class Function>
INLINE V in_double(V x, Function f) {
  if constexpr (V::SIZE == D::SIZE) {
    return f(x);
  } else {
    D halves[2];
    widen(x, halves[0], halves[1]);
#pragma GCC unroll 1
    for (D& half : halves) half = f(half);
    return narrow(halves[0], halves[1]);
  }
}

// beta*x above the threshold, compared as PyTorch does: in the type that the dtype computes in
template <class V>
INLINE auto above(V x, const Parameters& p) {
  using T = typename V::Type;
  return V(T(p.threshold < 20 ? p.threshold : INFINITY)) < x * V(T(p.beta));
}

template <bool NEGATED, class V> INLINE V negated_if(V x) { return NEGATED ? -x : x; }

// Whether the forward pass of a storage type runs in double: the short cuts need FMA.
template <class S> constexpr bool BY_DOUBLE = S::DIGITS != Digits::full && !HAS_FMA;

// The type that it computes in
template <class S> using Forward = std::conditional_t<BY_DOUBLE<S>, D, typename S::V>;

// softplus(x), to be rounded once more where S is a half type
template <class S, bool UNIT>
INLINE typename S::V value(typename S::V x, const Beta<Forward<S>>& beta) {
  if constexpr (BY_DOUBLE<S>)
    return in_double(x, [&](D v) INLINE_LAMBDA {
      D y = softplus<Digits::full, UNIT>(v, beta);
      return S::DIGITS == Digits::half ? round_to_odd(y) : y;
    });
  else
    return softplus<S::DIGITS, UNIT>(x, beta);
}

// What each kernel below is for one storage type S; BETA is beta where that is 1 or -1 and no threshold
// is in effect, which saves from a quarter to half of the operations, and 0 otherwise.
template <class S, int BETA>
void forward(const void* x, void* y, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<Forward<S>> beta(BETA ? 1 : p.beta);
  map<S, 1, 1>({x}, {y}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
    out[0] = negated_if<BETA < 0>(value<S, BETA != 0>(negated_if<BETA < 0>(in[0]), beta));
    if constexpr (!BETA) out[0] = select(above(in[0], p), in[0], out[0]);
  });
}

template <class S, int BETA>
void backward_of_output(const void* g, const void* y, void* gx, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<V> beta(BETA ? 1 : p.beta);
  map<S, 2, 1>({g, y}, {gx}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
    out[0] = in[0] * derivative_of_output<S::DIGITS, BETA != 0>(negated_if<BETA < 0>(in[1]), beta).s;
  });
}

template <class S>
void backward_of_input(const void* g, const void* x, void* gx, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<V> beta(p.beta);
  map<S, 2, 1>({g, x}, {gx}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
    V s = derivative_of_input<S::DIGITS>(in[1], beta).s;
    out[0] = select(above(in[1], p), in[0], in[0] * s);
  });
}

template <class S, int BETA>
void double_backward_of_output(
    const void* gg, const void* g, const void* y, void* to_g, void* to_y, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<V> beta(BETA ? 1 : p.beta);
  map<S, 3, 2>({gg, g, y}, {to_g, to_y}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
    auto d = derivative_of_output<S::DIGITS, BETA != 0>(negated_if<BETA < 0>(in[2]), beta);
    out[0] = in[0] * d.s;
    const V second = BETA ? negated_if<BETA < 0>(in[0] * d.curvature * in[1])
                          : product(in[0], in[1], flip_sign(d.curvature, beta.sign));
    out[1] = p.to_input ? second * d.s : second;
  });
}

template <class S>
void double_backward_of_input(
    const void* gg, const void* g, const void* x, void* to_g, void* to_x, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<V> beta(p.beta);
  map<S, 3, 2>({gg, g, x}, {to_g, to_x}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
    auto d = derivative_of_input<S::DIGITS>(in[2], beta);
    auto linear = above(in[2], p);
    out[0] = select(linear, in[0], in[0] * d.s);
    out[1] = select(
        linear, V(0), product(in[0], in[1], flip_sign(d.curvature, beta.sign)));
  });
}

template <class S>
void shifted(const void* x, void* y, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<D> beta(p.beta);
  if (std::isnan(p.shift)) {
    map<S, 1, 1>({x}, {y}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
      out[0] = in_double(in[0], [&](D v) INLINE_LAMBDA { return shifted_to_zero(v, beta); });
    });
  } else {
    const D shift = p.shift;
    map<S, 1, 1>({x}, {y}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
      out[0] = in_double(in[0], [&](D v) INLINE_LAMBDA { return softplus<Digits::full, false>(v, beta) - shift; });
    });
  }
}

template <class S>
void inverse(const void* y, void* x, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<D> beta(p.beta);
  map<S, 1, 1>({y}, {x}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
    out[0] = in_double(in[0], [&](D v) INLINE_LAMBDA { return inverse(v, beta); });
  });
}

template <class S>
void log_sigmoid(const void* x, void* y, void* z, int64_t n, const Parameters& p) {
  using V = typename S::V;
  const Beta<Forward<S>> beta(1);
  map<S, 1, 2>({x}, {y, z}, n, p, [&](const V* in, V* out) INLINE_LAMBDA {
    out[0] = -value<S, true>(-in[0], beta);
    V v = max(V(typename V::Type(UNDERFLOW_AT<V>)), minus_abs(in[0]));
    out[1] = exponential<S::DIGITS, false>(v, V(0)).value();
  });
}

// f(the BETA of the kernels above)
template <class F>
void each_beta(const Parameters& p, F f) {
  if (std::fabs(p.beta) != 1 || p.threshold < 20) return f(std::integral_constant<int, 0>());
  if (p.beta > 0) return f(std::integral_constant<int, 1>());
  f(std::integral_constant<int, -1>());
}

}  // namespace

#define STRING(x) #x
#define NAME(x) STRING(x)
extern const Kernels ISA = {
    NAME(ISA),
    [](Dtype dtype, const void* x, void* y, int64_t n, const Parameters& p) {
      FlushSubnormals flush;
      each_dtype(dtype, [&](auto s) {
        each_beta(p, [&](auto beta) { forward<decltype(s), beta()>(x, y, n, p); });
      });
    },
    [](Dtype dtype, const void* g, const void* y, void* gx, int64_t n, const Parameters& p) {
      FlushSubnormals flush;
      each_dtype(dtype, [&](auto s) {
        each_beta(p, [&](auto beta) { backward_of_output<decltype(s), beta()>(g, y, gx, n, p); });
      });
    },
    [](Dtype dtype, const void* g, const void* x, void* gx, int64_t n, const Parameters& p) {
      FlushSubnormals flush;
      each_dtype(dtype, [&](auto s) { backward_of_input<decltype(s)>(g, x, gx, n, p); });
    },
    [](Dtype dtype, const void* gg, const void* g, const void* y, void* to_g, void* to_y, int64_t n,
       const Parameters& p) {
      FlushSubnormals flush;
      each_dtype(dtype, [&](auto s) {
        each_beta(p, [&](auto beta) {
          double_backward_of_output<decltype(s), beta()>(gg, g, y, to_g, to_y, n, p);
        });
      });
    },
    [](Dtype dtype, const void* gg, const void* g, const void* x, void* to_g, void* to_x, int64_t n,
       const Parameters& p) {
      FlushSubnormals flush;
      each_dtype(dtype, [&](auto s) { double_backward_of_input<decltype(s)>(gg, g, x, to_g, to_x, n, p); });
    },
    [](Dtype dtype, const void* x, void* y, int64_t n, const Parameters& p) {
      FlushSubnormals flush;
      each_dtype(dtype, [&](auto s) { shifted<decltype(s)>(x, y, n, p); });
    },
    // Without flushing: the inverse of a subnormal is an ordinary number.
    [](Dtype dtype, const void* y, void* x, int64_t n, const Parameters& p) {
      each_dtype(dtype, [&](auto s) { inverse<decltype(s)>(y, x, n, p); });
    },
    [](Dtype dtype, const void* x, void* y, void* z, int64_t n, const Parameters& p) {
      FlushSubnormals flush;
      each_dtype(dtype, [&](auto s) { log_sigmoid<decltype(s)>(x, y, z, n, p); });
    },
};

}  // namespace softplus
