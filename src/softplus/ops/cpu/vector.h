// A vector: two registers of the instruction set that this file is compiled for.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif

namespace softplus {
namespace {  // a copy for each instruction set: the linker must not merge them

#if defined(__AVX512F__)
constexpr int REGISTER = 64;
#elif defined(__AVX2__)
constexpr int REGISTER = 32;
#else
constexpr int REGISTER = 16;
#endif
// Two registers side by side, for a formula is one long chain of dependent operations: 5% to 15% less
// time than one at 65,536 float32 elements; four give AVX2 another 4% for twice the time to compile.
constexpr int REGISTERS = 2;

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))
#define EACH _Pragma("GCC unroll 8") for (int k = 0; k < REGISTERS; k++)

template <class T> struct Scalar;  // the integer of the same size, and the layout of the float
template <> struct Scalar<float> { using Int = int32_t; static constexpr int MANTISSA = 23, BIAS = 127; };
template <> struct Scalar<double> { using Int = int64_t; static constexpr int MANTISSA = 52, BIAS = 1023; };
template <> struct Scalar<int32_t> { using Int = int32_t; };
template <> struct Scalar<int64_t> { using Int = int64_t; };

template <class T>
struct Register {
  typedef T type __attribute__((vector_size(REGISTER)));
  typedef T unaligned __attribute__((vector_size(REGISTER), aligned(1), may_alias));
};
using Floats = Register<float>::type;
using Doubles = Register<double>::type;
using Ints = Register<int32_t>::type;

// One register. `maximum` and `minimum` give the second operand if either is NaN; without an FMA
// instruction `fused` rounds twice.
#if defined(__AVX512F__)
INLINE Floats fused(Floats a, Floats b, Floats c) { return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) { return (Doubles)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE Floats maximum(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE Doubles maximum(Doubles a, Doubles b) { return (Doubles)_mm512_max_pd((__m512d)a, (__m512d)b); }
INLINE Floats minimum(Floats a, Floats b) { return (Floats)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE Doubles minimum(Doubles a, Doubles b) { return (Doubles)_mm512_min_pd((__m512d)a, (__m512d)b); }
INLINE __mmask16 less(Floats a, Floats b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
INLINE __mmask8 less(Doubles a, Doubles b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ); }
INLINE Floats choose(__mmask16 m, Floats a, Floats b) { return (Floats)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a); }
INLINE Doubles choose(__mmask8 m, Doubles a, Doubles b) { return (Doubles)_mm512_mask_blend_pd(m, (__m512d)b, (__m512d)a); }
#else
#if defined(__AVX2__)
INLINE Floats fused(Floats a, Floats b, Floats c) { return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) { return (Doubles)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE Floats maximum(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE Doubles maximum(Doubles a, Doubles b) { return (Doubles)_mm256_max_pd((__m256d)a, (__m256d)b); }
INLINE Floats minimum(Floats a, Floats b) { return (Floats)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE Doubles minimum(Doubles a, Doubles b) { return (Doubles)_mm256_min_pd((__m256d)a, (__m256d)b); }
#else
#if defined(__aarch64__)
INLINE Floats fused(Floats a, Floats b, Floats c) { return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) { return (Doubles)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#else
INLINE Floats fused(Floats a, Floats b, Floats c) { return a * b + c; }
INLINE Doubles fused(Doubles a, Doubles b, Doubles c) { return a * b + c; }
#endif
INLINE Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
INLINE Doubles maximum(Doubles a, Doubles b) { return a > b ? a : b; }
INLINE Floats minimum(Floats a, Floats b) { return a < b ? a : b; }
INLINE Doubles minimum(Doubles a, Doubles b) { return a < b ? a : b; }
#endif
INLINE Register<int32_t>::type less(Floats a, Floats b) { return a < b; }
INLINE Register<int64_t>::type less(Doubles a, Doubles b) { return a < b; }
INLINE Floats choose(Register<int32_t>::type m, Floats a, Floats b) { return m ? a : b; }
INLINE Doubles choose(Register<int64_t>::type m, Doubles a, Doubles b) { return m ? a : b; }
#endif

// Stores one register; around the cache only where p is aligned to it.
template <class Unaligned, class Part>
INLINE void put(Unaligned* p, Part x, bool around_cache) {
  if (around_cache) {
#if defined(__AVX512F__)
    return _mm512_stream_si512((__m512i*)p, (__m512i)x);
#elif defined(__AVX2__)
    return _mm256_stream_si256((__m256i*)p, (__m256i)x);
#elif defined(__SSE2__)
    return _mm_stream_si128((__m128i*)p, (__m128i)x);
#endif
  }
  *p = x;
}

template <class T> struct Mask {
  decltype(less(typename Register<T>::type{}, typename Register<T>::type{})) part[REGISTERS];
};

template <class T> struct Vector {
  using Type = T;
  using Part = typename Register<T>::type;
  static constexpr int SIZE = REGISTERS * REGISTER / sizeof(T);
  Part part[REGISTERS];

  Vector() = default;
  INLINE Vector(T x) { EACH part[k] = x - Part{}; }  // `+` would turn -0 into +0

  static INLINE Vector load(const void* p) { Vector r; EACH r.part[k] = ((const typename Register<T>::unaligned*)p)[k]; return r; }
INLINE void store(void* p, bool around_cache) const {
    EACH put((typename Register<T>::unaligned*)p + k, part[k], around_cache);
  }
  template <class To> INLINE Vector<To> bits() const {
    Vector<To> r; EACH r.part[k] = (typename Register<To>::type)part[k]; return r;
  }

  friend INLINE Vector operator+(Vector a, Vector b) { EACH a.part[k] = a.part[k] + b.part[k]; return a; }
  friend INLINE Vector operator-(Vector a, Vector b) { EACH a.part[k] = a.part[k] - b.part[k]; return a; }
  friend INLINE Vector operator*(Vector a, Vector b) { EACH a.part[k] = a.part[k] * b.part[k]; return a; }
  friend INLINE Vector operator/(Vector a, Vector b) { EACH a.part[k] = a.part[k] / b.part[k]; return a; }
  friend INLINE Vector operator-(Vector a) { EACH a.part[k] = -a.part[k]; return a; }
  friend INLINE Vector operator&(Vector a, Vector b) { EACH a.part[k] = a.part[k] & b.part[k]; return a; }
  friend INLINE Vector operator|(Vector a, Vector b) { EACH a.part[k] = a.part[k] | b.part[k]; return a; }
  friend INLINE Vector operator^(Vector a, Vector b) { EACH a.part[k] = a.part[k] ^ b.part[k]; return a; }
  friend INLINE Vector operator~(Vector a) { EACH a.part[k] = ~a.part[k]; return a; }
  friend INLINE Vector operator<<(Vector a, int n) { EACH a.part[k] = a.part[k] << n; return a; }
  friend INLINE Vector operator>>(Vector a, int n) { EACH a.part[k] = a.part[k] >> n; return a; }
  friend INLINE Vector fma(Vector a, Vector b, Vector c) { EACH a.part[k] = fused(a.part[k], b.part[k], c.part[k]); return a; }
  friend INLINE Vector max(Vector a, Vector b) { EACH a.part[k] = maximum(a.part[k], b.part[k]); return a; }
  friend INLINE Vector min(Vector a, Vector b) { EACH a.part[k] = minimum(a.part[k], b.part[k]); return a; }
  friend INLINE auto operator<(Vector a, Vector b) { Mask<T> r; EACH r.part[k] = less(a.part[k], b.part[k]); return r; }
  friend INLINE Vector select(Mask<T> m, Vector a, Vector b) { EACH a.part[k] = choose(m.part[k], a.part[k], b.part[k]); return a; }
};

// Whether the mask holds for any element.
template <class T> INLINE bool any(Mask<T> mask) {
  static_assert(REGISTERS == 2);
#if defined(__AVX512F__)
  return !_kortestz_mask16_u8(mask.part[0], mask.part[1]);
#elif defined(__AVX2__)
  return _mm256_movemask_ps((__m256)(mask.part[0] | mask.part[1])) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps((__m128)(mask.part[0] | mask.part[1])) != 0;
#else
  return vmaxvq_u32((uint32x4_t)(mask.part[0] | mask.part[1])) != 0;
#endif
}

using F = Vector<float>;
using D = Vector<double>;
using I = Vector<int32_t>;

template <class V> using IntsOf = Vector<typename Scalar<typename V::Type>::Int>;
template <class V> INLINE IntsOf<V> bits(V x) { return x.template bits<typename IntsOf<V>::Type>(); }
template <class V> INLINE V of_bits(IntsOf<V> x) { return x.template bits<typename V::Type>(); }
template <class V> INLINE V flip_sign(V x, V sign) { return of_bits<V>(bits(x) ^ bits(sign)); }  // sign: 0 or -0
template <class V> INLINE V abs(V x) { return of_bits<V>(bits(x) & IntsOf<V>(~(typename IntsOf<V>::Type(1) << (8 * sizeof(typename V::Type) - 1)))); }
template <class V> INLINE V minus_abs(V x) { return of_bits<V>(bits(x) | bits(V(typename V::Type(-0.0)))); }

// a * b - product, exactly.
template <class V> INLINE V product_error(V a, V b, V product) {
#if HAS_FMA
  return fma(a, b, -product);
#else  // Dekker: the products of the halves are exact, except where they underflow
  V split = typename V::Type(sizeof(typename V::Type) == 4 ? 4097.0 : 134217729.0);
  V at = a * split, bt = b * split;
  V ah = at - (at - a), bh = bt - (bt - b), al = a - ah, bl = b - bh;
  V error = ((ah * bh - product) + ah * bl + al * bh) + al * bl;
  return select(abs(product) < V(typename V::Type(1e-20)), V(0), error);
#endif
}

// The floats as two vectors of doubles, and back.
INLINE void widen(F x, D& first, D& second) {
  typedef float Half __attribute__((vector_size(REGISTER / 2)));
  Half half[2 * REGISTERS];
  memcpy(half, &x, sizeof x);
  EACH first.part[k] = __builtin_convertvector(half[k], Doubles);
  EACH second.part[k] = __builtin_convertvector(half[k + REGISTERS], Doubles);
}
INLINE F narrow(D first, D second) {
  typedef float Half __attribute__((vector_size(REGISTER / 2)));
  Half half[2 * REGISTERS];
  EACH half[k] = __builtin_convertvector(first.part[k], Half);
  EACH half[k + REGISTERS] = __builtin_convertvector(second.part[k], Half);
  F r;
  memcpy(&r, half, sizeof r);
  return r;
}

// To the 24 digits of a float, the last one odd unless exact: rounding on to fewer digits then gives
// what rounding once would.
INLINE D round_to_odd(D x) {
  const Vector<int64_t> rest = (int64_t(1) << 29) - 1, b = x.bits<int64_t>();
  return ((b | ((b & rest) + rest)) & ~rest).bits<double>();
}

INLINE D to_double(Vector<int64_t> x) { D r; EACH r.part[k] = __builtin_convertvector(x.part[k], Doubles); return r; }

// table[index mod N]; N is 8 for AVX2, whose registers hold 8 floats, and 16 elsewhere.
constexpr int LOOKUP = REGISTER == 32 ? 8 : 16;
INLINE F lookup(const float* table, I index) {
  F r;
#if defined(__AVX512F__)
  EACH r.part[k] = (Floats)_mm512_permutexvar_ps((__m512i)index.part[k], _mm512_load_ps(table));
#elif defined(__AVX2__)
  EACH r.part[k] = (Floats)_mm256_permutevar8x32_ps(_mm256_load_ps(table), (__m256i)index.part[k]);
#else
  EACH for (int i = 0; i < REGISTER / 4; i++) r.part[k][i] = table[index.part[k][i] & (LOOKUP - 1)];
#endif
  return r;
}

// While this lives, results below 2^-126 (float32) become zero and such operands count as zero.
struct FlushSubnormals {
#if defined(__SSE2__)
  unsigned saved = _mm_getcsr();
  FlushSubnormals() { _mm_setcsr(saved | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(saved); }
#elif defined(__aarch64__)
  uint64_t saved;
  FlushSubnormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved));
    asm volatile("msr fpcr, %0" ::"r"(saved | 1 << 24));
  }
  ~FlushSubnormals() { asm volatile("msr fpcr, %0" ::"r"(saved)); }
#endif
};

}  // namespace
}  // namespace softplus
