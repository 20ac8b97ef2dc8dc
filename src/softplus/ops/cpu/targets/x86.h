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

// The rows of a table of doubles as columns, each of which is a register or two.
struct Columns {
  alignas(64) double at[16][8] = {};
  explicit constexpr Columns(const double (&rows)[8][16]) {
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < 16; j++) at[j][i] = rows[i][j];
  }
};

INLINE void end_of_streams() { _mm_sfence(); }

struct FlushSubnormals {
  unsigned saved = _mm_getcsr();
  FlushSubnormals() { _mm_setcsr(saved | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(saved); }
};

}  // namespace
}  // namespace softplus
