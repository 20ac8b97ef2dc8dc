// The loop of all kernels, which carries a function of vectors over contiguous memory.
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels.h"
#include "vector.h"

namespace softplus {
namespace {

using In = const char* const*;
using Out = char* const*;

// The dtypes of the tensors on one side of a kernel.
template <class... S> struct Types {};

// out[j][i] = f(in[0][i], …)[j] for i < n. The last few elements go through the same loop, in
// padded copies: an element's result does not depend on its place. Without MAY_BE_NAN f has seen to
// it that there is one NaN only.
template <bool MAY_BE_NAN = true, class... From, class... To, class Function>
INLINE void map(
    Types<From...>, Types<To...>, In in, Out out, int64_t n, const Parameters& p, Function f) {
  using V = std::common_type_t<typename From::V..., typename To::V...>;
  constexpr int SIZE = V::SIZE, IN = sizeof...(From), OUT = sizeof...(To);
  constexpr int64_t SIZE_IN[] = {sizeof(typename From::Element)...};
  constexpr int64_t SIZE_OUT[] = {sizeof(typename To::Element)...};
  alignas(64) char padded_in[IN][SIZE * 8] = {}, padded_out[OUT][SIZE * 8];
  const char* from[IN];  // copies: what is stored could be the arrays of pointers themselves
  char* to[OUT];
  for (int j = 0; j < IN; j++) from[j] = in[j];
  for (int j = 0; j < OUT; j++) to[j] = out[j];
  bool around_cache = p.around_cache;
  for (int j = 0; j < OUT; j++) around_cache &= uintptr_t(to[j]) % REGISTER == 0;
  for (int64_t i = 0; i < n; i += SIZE) {
    const bool whole = n - i >= SIZE;
    if (!whole) {
      for (int j = 0; j < IN; j++)
        memcpy(padded_in[j], from[j] + i * SIZE_IN[j], size_t((n - i) * SIZE_IN[j]));
    }
    V x[IN], y[OUT];
    int j = 0, k = 0;
    ((x[j] = From::load(
          (const typename From::Element*)(whole ? from[j] + i * SIZE_IN[j] : padded_in[j])),
      j++),
     ...);
    f(x, y);
    if constexpr (MAY_BE_NAN) {
      for (V& each : y) each = one_nan(each);
    }
    ((To::store(
          (typename To::Element*)(whole ? to[k] + i * SIZE_OUT[k] : padded_out[k]), y[k],
          whole && around_cache),
      k++),
     ...);
    if (!whole) {
      for (int j = 0; j < OUT; j++)
        memcpy(to[j] + i * SIZE_OUT[j], padded_out[j], size_t((n - i) * SIZE_OUT[j]));
    }
  }
  if (around_cache) end_of_streams();
}

}  // namespace
}  // namespace softplus
