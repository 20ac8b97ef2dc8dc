// A vector: two registers of the target, the instruction set that this is compiled for.
#pragma once

#include <limits>

#include TARGET  // one of targets/*.h

namespace softplus {
namespace {

// Two registers side by side, for a formula is one long chain of dependent operations: 5% to 15%
// less time than one at 65,536 float32 elements; four give AVX2 another 4% for twice the time to
// compile.
constexpr int REGISTERS = 2;

#define EACH _Pragma("GCC unroll 8") for (int k = 0; k < REGISTERS; k++)

template <class T> struct Scalar;  // the integer of the same size, and the layout of the float
template <> struct Scalar<float> {
  using Int = int32_t;
  static constexpr int MANTISSA = 23, BIAS = 127;
};
template <> struct Scalar<double> {
  using Int = int64_t;
  static constexpr int MANTISSA = 52, BIAS = 1023;
};
template <> struct Scalar<int32_t> {
  using Int = int32_t;
};
template <> struct Scalar<int64_t> {
  using Int = int64_t;
};

// Stores one register; around the cache only where p is aligned to it.
template <class Unaligned, class Part>
INLINE void put(Unaligned* p, Part x, bool around_cache) {
  if (around_cache) stream(p, (Ints)x);
  else *p = x;
}

template <class T> struct Mask {
  using Part = typename Register<T, REGISTER>::type;
  decltype(less(Part{}, Part{})) part[REGISTERS];
};

template <class T> struct Vector {
  using Type = T;
  using Part = typename Register<T, REGISTER>::type;
  using Unaligned = typename Register<T, REGISTER>::unaligned;
  static constexpr int SIZE = REGISTERS * REGISTER / sizeof(T);
  Part part[REGISTERS];

  Vector() = default;
  INLINE Vector(T x) { EACH part[k] = x - Part{}; }  // `+` would turn -0 into +0

  static INLINE Vector load(const void* p) {
    Vector r;
    EACH r.part[k] = ((const Unaligned*)p)[k];
    return r;
  }
  INLINE void store(void* p, bool around_cache) const {
    EACH put((Unaligned*)p + k, part[k], around_cache);
  }
  template <class To> INLINE Vector<To> bits() const {
    Vector<To> r;
    EACH r.part[k] = (typename Register<To, REGISTER>::type)part[k];
    return r;
  }

  // clang-format off
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
  friend INLINE Vector only(Mask<T> m, Vector a) { EACH a.part[k] = chosen(m.part[k], a.part[k]); return a; }
  // clang-format on
};

// Whether the mask holds for any element.
template <class T> INLINE bool any(Mask<T> mask) {
  static_assert(REGISTERS == 2);
  return any(mask.part[0], mask.part[1]);
}

using F = Vector<float>;
using D = Vector<double>;
using I = Vector<int32_t>;

template <class V> using IntsOf = Vector<typename Scalar<typename V::Type>::Int>;
template <class V> INLINE IntsOf<V> bits(V x) {
  return x.template bits<typename IntsOf<V>::Type>();
}
template <class V> INLINE V of_bits(IntsOf<V> x) { return x.template bits<typename V::Type>(); }
template <class V> INLINE V flip_sign(V x, V sign) {  // sign: 0 or -0
  return of_bits<V>(bits(x) ^ bits(sign));
}
template <class V> INLINE IntsOf<V> sign_bit() { return bits(V(typename V::Type(-0.0))); }
template <class V> INLINE V abs(V x) { return of_bits<V>(bits(x) & ~sign_bit<V>()); }
template <class V> INLINE V minus_abs(V x) { return of_bits<V>(bits(x) | sign_bit<V>()); }

// a * b - product, exactly.
template <class V> INLINE V product_error(V a, V b, V product) {
  if constexpr (HAS_FMA) return fma(a, b, -product);
  using T = typename V::Type;
  // Dekker: the products of the halves are exact, except where they underflow; 2^40 times too
  // large, so that no half of a tiny a does
  V split = T(sizeof(T) == 4 ? 4097.0 : 134217729.0), large = a * V(T(0x1p40));
  V at = large * split, bt = b * split;
  V ah = at - (at - large), bh = bt - (bt - b), al = large - ah, bl = b - bh;
  V error = ((ah * bh - product * V(T(0x1p40))) + ah * bl + al * bh) + al * bl;
  return select(abs(product) < V(T(1e-20)), V(0), error * V(T(0x1p-40)));
}

// a * b, flushed where it is too small once it is rounded: the last product of a result that may be
// so small. Where flushing comes first, what rounds up to the smallest normal number is computed
// 2^30 times too large.
template <class V> INLINE V times(V a, V b) {
  using T = typename V::Type;
  const V product = a * b;
  if constexpr (FLUSHES_AFTER_ROUNDING) return product;
  const V limit = std::numeric_limits<T>::min() * T(0x1p30), large = a * V(T(0x1p30)) * b;
  const auto rounds_up = limit * V(1 - std::numeric_limits<T>::epsilon()) < abs(large);
  return select(V(0) < abs(product), product, select(rounds_up, large * V(T(0x1p-30)), product));
}

// What a double must be changed to, where flushing comes first, to become the same float.
INLINE D before_narrowing(D x) {
  if constexpr (FLUSHES_AFTER_ROUNDING) return x;
  const D smallest = std::numeric_limits<float>::min();
  const auto rounds_up = smallest * D(1 - 0x1.00001p-25) < abs(x);
  const D raised = of_bits<D>(bits(smallest) | (bits(x) & sign_bit<D>()));
  return select(rounds_up, select(abs(x) < smallest, raised, x), x);
}

// A register of floats as doubles, and back.
INLINE D widen(Floats x) {
  typedef float Half __attribute__((vector_size(REGISTER / 2)));
  Half half[REGISTERS];
  memcpy(half, &x, sizeof x);
  D r;
  EACH r.part[k] = __builtin_convertvector(half[k], Doubles);
  return r;
}
INLINE Floats narrow(D x) {
  typedef float Half __attribute__((vector_size(REGISTER / 2)));
  Half half[REGISTERS];
  x = before_narrowing(x);
  EACH half[k] = __builtin_convertvector(x.part[k], Half);
  Floats r;
  memcpy(&r, half, sizeof r);
  return r;
}

// To the 24 digits of a float, the last one odd unless exact: rounding on to fewer digits then
// gives what rounding once would.
INLINE D round_to_odd(D x) {
  const Vector<int64_t> rest = (int64_t(1) << 29) - 1, b = x.bits<int64_t>();
  return ((b | ((b & rest) + rest)) & ~rest).bits<double>();
}

INLINE D to_double(Vector<int64_t> x) {
  D r;
  EACH r.part[k] = __builtin_convertvector(x.part[k], Doubles);
  return r;
}

// The exponent of a positive number, as it is stored: that of 1 is BIAS
template <class V> INLINE V stored_exponent(V x) {
  using T = typename V::Type;
  constexpr int MANTISSA = Scalar<T>::MANTISSA;
  const V large = T(int64_t(1) << MANTISSA);  // whose last bit stands for 1
  return of_bits<V>((bits(x) >> MANTISSA) | bits(large)) - large;
}

// Whether any element of one vector has other bits than that of the other.
INLINE bool differ(D a, D b) {
  F difference;
  EACH difference.part[k] = __builtin_convertvector((Ints)a.part[k] ^ (Ints)b.part[k], Floats);
  return any(F(0) < abs(difference));
}

// table[index mod N], N = LOOKUP or 2 * LOOKUP
template <int N>
INLINE F lookup(const float* table, I index) {
  F r;
  EACH r.part[k] = lookup<N>(table, index.part[k]);
  return r;
}

// Whether any element is none of first + 0 … size - 1, a power of two of which first is a multiple.
INLINE bool outside(I x, int32_t first, int32_t size) {
  static_assert(REGISTERS == 2);
  return outside(x.part[0], x.part[1], first, size);
}

// Every NaN as the same one, whose sign and payload would else be the processor's choice.
template <class V> INLINE V one_nan(V x) {
  static_assert(REGISTERS == 2);
  if (__builtin_expect(!any_nan(x.part[0], x.part[1]), true)) return x;
  return select(V(-1) < abs(x), x, V(std::numeric_limits<typename V::Type>::quiet_NaN()));
}

// Of a table of eight rows the one of each element, by an index mod ROWS_OF, 4 or 8.
template <const double (&ROWS)[8][16], int ROWS_OF> struct Rows {
  Row<ROWS, ROWS_OF> part[REGISTERS];
  explicit INLINE Rows(Vector<int64_t> index) { EACH part[k] = Row<ROWS, ROWS_OF>(index.part[k]); }
  INLINE D column(int j) const {
    D r;
    EACH r.part[k] = part[k].column(j);
    return r;
  }
};

}  // namespace
}  // namespace softplus
