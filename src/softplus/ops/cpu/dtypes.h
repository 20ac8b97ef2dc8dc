// The dtypes: of each the storage type, the vector it computes in, the digits it needs, and the way
// in and out.
#pragma once

#include "kernels.h"
#include "maths.h"

namespace softplus {
namespace {

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
    const Ints pairs = *(const I::Unaligned*)p;
    I x;
    x.part[0] = pairs << 16;
    x.part[1] = pairs & int32_t(0xffff0000);
    return of_bits<F>(x);
  }
  static INLINE void store(uint16_t* p, F x, bool around_cache) {
    using Unsigned = Register<uint32_t, REGISTER>::type;
    I b = bits(x);
    b = b + ((b >> 16) & I(1)) + I(0x7fff);  // to nearest even; a NaN of these kernels stays one
    const Ints even = (Ints)((Unsigned)b.part[0] >> 16), odd = b.part[1] & int32_t(0xffff0000);
    put((I::Unaligned*)p, even | odd, around_cache);
  }
};

struct Float16 {
  using Element = uint16_t;
  using V = F;
  static constexpr Digits DIGITS = Digits::half;
  static INLINE F load(const uint16_t* p) {
    F x;
    load_float16(p, x.part[0], x.part[1]);
    return x;
  }
  static INLINE void store(uint16_t* p, F x, bool around_cache) {
    store_float16(p, x.part[0], x.part[1], around_cache);
  }
};

// The same in double, whatever the digits that it needs: for the kernels with a beta for each
// element that compute in double. Here the elements keep their order. Each register of doubles is
// read and written by itself: as halves of a register of floats they took AVX2 40 microseconds of
// 142 at 65,536.
template <class T>
struct HalfOf {
  typedef T type __attribute__((vector_size(D::SIZE / REGISTERS * sizeof(T))));
  typedef T unaligned
      __attribute__((vector_size(D::SIZE / REGISTERS * sizeof(T)), aligned(1), may_alias));
};

struct Float32InDouble {
  using Element = float;
  using V = D;
  static constexpr Digits DIGITS = Digits::single;
  using Half = HalfOf<float>;
  static INLINE D load(const float* p) {
    D x;
    EACH x.part[k] = __builtin_convertvector(((const Half::unaligned*)p)[k], Doubles);
    return x;
  }
  static INLINE void store(float* p, D x, bool /*around_cache*/) {
    x = before_narrowing(x);
    EACH((Half::unaligned*)p)[k] = __builtin_convertvector(x.part[k], Half::type);
  }
};

struct BFloat16InDouble {
  using Element = uint16_t;
  using V = D;
  static constexpr Digits DIGITS = Digits::single;
  using Half = HalfOf<uint16_t>;
  using Integers = HalfOf<int32_t>::type;
  using Singles = HalfOf<float>::type;
  static INLINE D load(const uint16_t* p) {
    D x;
    EACH {
      const Integers b = __builtin_convertvector(((const Half::unaligned*)p)[k], Integers) << 16;
      x.part[k] = __builtin_convertvector((Singles)b, Doubles);
    }
    return x;
  }
  static INLINE void store(uint16_t* p, D x, bool /*around_cache*/) {
    x = round_to_odd(x);
    EACH {
      Integers b = (Integers) __builtin_convertvector(x.part[k], Singles);
      b = (b + (b >> 16 & 1) + 0x7fff) >> 16;  // as above
      ((Half::unaligned*)p)[k] = __builtin_convertvector(b, Half::type);
    }
  }
};

struct Float16InDouble {
  using Element = uint16_t;
  using V = D;
  static constexpr Digits DIGITS = Digits::single;
  static INLINE D load(const uint16_t* p) {
    uint16_t halves[2 * D::SIZE] = {};
    memcpy(halves, p, D::SIZE * sizeof *p);
    Floats x, none;
    load_float16(halves, x, none);
    return widen(x);
  }
  static INLINE void store(uint16_t* p, D x, bool /*around_cache*/) {
    uint16_t halves[2 * D::SIZE];
    store_float16(halves, narrow(round_to_odd(x)), Floats{}, false);
    memcpy(p, halves, D::SIZE * sizeof *p);
  }
};

// For those that compute in float: bfloat16 with its elements in order, as those of beta are.
struct BFloat16InOrder : BFloat16 {
  typedef uint16_t Half __attribute__((vector_size(REGISTER / 2), aligned(1), may_alias));
  static INLINE F load(const uint16_t* p) {
    I x;
    EACH x.part[k] = __builtin_convertvector(((const Half*)p)[k], Ints) << 16;
    return of_bits<F>(x);
  }
  static INLINE void store(uint16_t* p, F x, bool /*around_cache*/) {
    I b = bits(x);
    b = b + ((b >> 16 & I(1)) + I(0x7fff));  // as above
    EACH((Half*)p)[k] = __builtin_convertvector(b.part[k] >> 16, Half);
  }
};

template <class S> struct InOrder : S {};
template <> struct InOrder<BFloat16> : BFloat16InOrder {};

// A beta as the nearest float, and what that lacks, or as much of it as there is
template <class B> struct Rounded : B {};
template <> struct Rounded<Float64> {
  using Element = double;
  using V = F;
  typedef double Both __attribute__((vector_size(2 * REGISTER)));
  typedef double Unaligned __attribute__((vector_size(2 * REGISTER), aligned(1), may_alias));
  static INLINE F load(const double* p) {
    F x;
    EACH x.part[k] = __builtin_convertvector(((const Unaligned*)p)[k], Floats);
    return x;
  }
  static INLINE void store(double* p, F x, bool /*around_cache*/) {
    EACH((Unaligned*)p)[k] = __builtin_convertvector(x.part[k], Both);
  }
};
template <class B> struct RestOf : Rounded<B> {
  static INLINE F load(const float*) { return F(0); }
};
template <> struct RestOf<Float64> : Rounded<Float64> {
  static INLINE F load(const double* p) {
    F x = Rounded<Float64>::load(p);
    EACH {
      const Both rest = ((const Unaligned*)p)[k] - __builtin_convertvector(x.part[k], Both);
      x.part[k] = __builtin_convertvector(rest, Floats);
    }
    return x;
  }
};

template <class S> struct InDouble;
template <> struct InDouble<Float32> : Float32InDouble {};
template <> struct InDouble<Float64> : Float64 {};
template <> struct InDouble<BFloat16> : BFloat16InDouble {};
template <> struct InDouble<Float16> : Float16InDouble {};

// f(the struct of a dtype)
template <class Function>
INLINE void each_dtype(Dtype dtype, Function f) {
  switch (dtype) {
    case Dtype::float32: return f(Float32{});
    case Dtype::float64: return f(Float64{});
    case Dtype::bfloat16: return f(BFloat16{});
    case Dtype::float16: return f(Float16{});
  }
}

}  // namespace
}  // namespace softplus
