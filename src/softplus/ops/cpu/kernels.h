// The kernels that each instruction set provides, on contiguous memory.
#pragma once

#include <cstdint>

namespace softplus {

enum class Dtype { float32, float64, bfloat16, float16 };

struct Parameters {
  double beta = 1.0;
  double threshold = 20.0;  // below 20: x itself where beta*x exceeds it; 20 or more: exact
  double shift = 0.0;       // what shifted subtracts; NaN: ln2/beta, exact at 0
  bool around_cache = false;  // for results larger than the cache: store past it
  bool to_input = false;  // of a double backward from the output: towards x, not towards y
};

// Every pointer is to n contiguous elements of the dtype; an output may be an input's own memory.
struct Kernels {
  const char* name;  // "baseline", "avx2", "avx512"
  // y = softplus(x)
  void (*forward)(Dtype, const void* x, void* y, int64_t n, const Parameters&);
  // gx = g * sigmoid(beta*x), from y = softplus(x) (no effective threshold) or from x
  void (*backward_of_output)(Dtype, const void* g, const void* y, void* gx, int64_t n, const Parameters&);
  void (*backward_of_input)(Dtype, const void* g, const void* x, void* gx, int64_t n, const Parameters&);
  // The gradients of the above towards g (to_g = gg*s) and towards y (gg*g*beta*e^(-beta*y)) or x
  // (gg*g*beta*s*(1-s)), in one pass.
  void (*double_backward_of_output)(
      Dtype, const void* gg, const void* g, const void* y, void* to_g, void* to_y, int64_t n,
      const Parameters&);
  void (*double_backward_of_input)(
      Dtype, const void* gg, const void* g, const void* x, void* to_g, void* to_x, int64_t n,
      const Parameters&);
  // y = softplus(x) - shift
  void (*shifted)(Dtype, const void* x, void* y, int64_t n, const Parameters&);
  // x with softplus(x) = y
  void (*inverse)(Dtype, const void* y, void* x, int64_t n, const Parameters&);
  // y = ln(sigmoid(x)) and z = e^(-|x|); no parameter but around_cache counts
  void (*log_sigmoid)(Dtype, const void* x, void* y, void* z, int64_t n, const Parameters&);
};

// One for each instruction set compiled in; the CPU may lack it.
extern const Kernels baseline;
extern const Kernels avx2;
extern const Kernels avx512;

}  // namespace softplus
