// What the x86 targets share: their intrinsics, the end of stores around the cache, and the mode in
// which subnormal numbers are flushed.
#pragma once

// GCC 12 warns of its own AVX-512 header (GCC PR 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include "register.h"

namespace softplus {
namespace {

// Which results FlushSubnormals flushes: what is too small once it is rounded, or before
constexpr bool FLUSHES_AFTER_ROUNDING = true;

INLINE void end_of_streams() { _mm_sfence(); }

struct FlushSubnormals {
  unsigned saved = _mm_getcsr();
  FlushSubnormals() { _mm_setcsr(saved | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(saved); }
};

}  // namespace
}  // namespace softplus
