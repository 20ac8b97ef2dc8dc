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
  bool shifted = false;       // of the kernels with a beta for each element: minus ln2/beta
};

// Every pointer is to n contiguous elements of the dtype; an output may be an input's own memory,
// where it has the same dtype.
using Kernel = void (*)(
    Dtype, const char* const* in, char* const* out, int64_t n, const Parameters& parameters);

struct Kernels {
  const char* name;  // "baseline", "avx2", "avx512"
  // x -> y = softplus(x)
  Kernel forward;
  // g, y = softplus(x) (no effective threshold) -> gx = g * sigmoid(beta*x); g, x -> gx
  Kernel backward_of_output, backward_of_input;
  // The gradients of the above towards g (gg*s) and towards y (gg*g*beta*e^(-beta*y)) or x
  // (gg*g*beta*s*(1-s)) in one pass: gg, g, y -> to_g, to_y; gg, g, x -> to_g, to_x
  Kernel double_backward_of_output, double_backward_of_input;
  // x -> y = softplus(x) - shift
  Kernel shifted;
  // y -> x with softplus(x) = y
  Kernel inverse;
  // x -> y = ln(sigmoid(x)), z = e^(-|x|); no parameter but around_cache counts
  Kernel log_sigmoid;
  // With a beta b for each element, b, and what belongs to it, in float64 whatever the dtype. Of an
  // element whose b is beyond 2^-900 or 2^900, 0 and infinity too, these are the nearest such b's.
  // Where `shifted`, there is no threshold.
  // x, b -> y = softplus(x)
  Kernel forward_each;
  // g, x, b -> to_x = g * sigmoid(b*x), to_b = g * dy/db
  Kernel backward_each;
  // The gradients of the above towards g, x and b in one pass, ggx and ggb being those that come in
  // towards to_x and to_b: ggx, ggb, g, x, b -> to_g, to_x, to_b
  Kernel double_backward_each;
};

// One for each instruction set compiled in; the CPU may lack it.
#define SET(name, ...) extern const Kernels name;
#include "instruction_sets.def"
#undef SET

}  // namespace softplus
