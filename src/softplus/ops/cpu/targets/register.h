// What all targets share: a register as the compiler's own vector type, which brings arithmetic,
// bit operations, shifts and comparisons with it.
#pragma once

#include <cstdint>
#include <cstring>

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace softplus {
namespace {  // a copy for each instruction set: the linker must not merge them

template <class T, int BYTES>
struct Register {
  typedef T type __attribute__((vector_size(BYTES)));
  typedef T unaligned __attribute__((vector_size(BYTES), aligned(1), may_alias));
};

}  // namespace
}  // namespace softplus
