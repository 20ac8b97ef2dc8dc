// The kernels that each instruction set provides, on contiguous memory.
#pragma once

#include <cstdint>

namespace softplus {

enum class Dtype { float32, float64, bfloat16, float16 };

struct Parameters {
  double beta = 1.0;
  double threshold = 20.0;    // below 20: x itself where beta*x exceeds it; 20 or more: exact
  double shift = 0.0;         // what shifted subtracts; NaN: ln2/beta, exact at 0
  bool around_cache = false;  // for results larger than the cache: store past it
  bool to_input = false;      // of a double backward from the output: towards x, not towards y
  // Of the kernels with a beta for each element:
  bool shifted = false;  // minus ln2/beta
  bool single = false;   // their betas are float32, and all towards beta; not where x is float64
};

// A kernel has at most this many tensors, outputs and inputs together.
constexpr int MOST_TENSORS = 8;

// Every pointer is to n contiguous elements of the dtype; an output may be an input's own memory,
// where it has the same dtype.
using Kernel = void (*)(
    Dtype, const char* const* in, char* const* out, int64_t n, const Parameters& parameters);

struct Kernels {
  const char* name;  // "baseline", "avx2", "avx512"
#define KERNEL(name, outputs, inputs) Kernel name;
#include "kernels.def"
#undef KERNEL
};

// One for each instruction set compiled in; the CPU may lack it.
#define SET(name, ...) extern const Kernels name;
#include "instruction_sets.def"
#undef SET

}  // namespace softplus
