// Runs kernels of one instruction set on what comes in, for a program that asks from outside of an
// emulator: a request and its inputs from the standard input, the outputs to the standard output,
// until the input ends. Compiled together with kernels.cpp of the set, with the same -DISA.
#include "kernels.h"

#include <cstdio>
#include <memory>
#include <vector>

using namespace softplus;

namespace {

// As tools/emulator.py packs it.
struct Request {
  int32_t kernel, dtype;
  int64_t n;
  double beta, threshold, shift;
  int32_t to_input, shifted;
};

struct Named {
  Kernel kernel;
  const char *outputs, *inputs;  // of each of them x for the dtype, b for float64
};

const Named KERNELS[] = {
#define KERNEL(name, outputs, inputs) {ISA.name, #outputs, #inputs},
#include "kernels.def"
#undef KERNEL
};

constexpr size_t SIZES[] = {4, 8, 2, 2};  // bytes of an element, in the order of Dtype

struct Tensors {
  std::vector<std::unique_ptr<char[]>> memory;
  std::vector<char*> data;
  std::vector<size_t> bytes;

  Tensors(const char* types, const Request& request) {
    for (; *types; types++) {
      bytes.push_back(size_t(request.n) * (*types == 'x' ? SIZES[request.dtype] : sizeof(double)));
      memory.emplace_back(new char[bytes.back()]);
      data.push_back(memory.back().get());
    }
  }
};

}  // namespace

int main() {
  for (Request request; std::fread(&request, sizeof request, 1, stdin) == 1;) {
    const Named& named = KERNELS[request.kernel];
    Tensors in(named.inputs, request), out(named.outputs, request);
    for (size_t i = 0; i < in.data.size(); i++)
      if (std::fread(in.data[i], 1, in.bytes[i], stdin) != in.bytes[i]) return 1;
    const Parameters parameters = {
        .beta = request.beta,
        .threshold = request.threshold,
        .shift = request.shift,
        .to_input = request.to_input != 0,
        .shifted = request.shifted != 0};
    named.kernel(Dtype(request.dtype), in.data.data(), out.data.data(), request.n, parameters);
    for (size_t j = 0; j < out.data.size(); j++)
      if (std::fwrite(out.data[j], 1, out.bytes[j], stdout) != out.bytes[j]) return 1;
    if (std::fflush(stdout) != 0) return 1;
  }
  return 0;
}
