// The operators: their schemas, and the calls of them through the dispatcher.
#include "operators.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace softplus {
namespace {

using at::Tensor;

template <typename Function>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

}  // namespace

TORCH_LIBRARY(softplus, m) {
  m.set_python_module("softplus.ops.cpu");
  m.def("forward(Tensor input, float beta, float threshold) -> Tensor");
  m.def(
      "backward(Tensor grad, Tensor saved, float beta, float threshold, bool of_output) -> Tensor");
  m.def(
      "double_backward(Tensor grad_grad, Tensor grad, Tensor saved, float beta, float threshold, "
      "bool of_output, bool to_input) -> (Tensor, Tensor)");
  m.def("shifted(Tensor input, float beta, float? shift) -> Tensor");
  m.def("inverse(Tensor input, float beta) -> Tensor");
}

Tensor forward(const Tensor& input, double beta, double threshold) {
  static const auto op = find<decltype(forward)>("softplus::forward");
  return op.call(input, beta, threshold);
}

Tensor backward(
    const Tensor& grad, const Tensor& saved, double beta, double threshold, bool of_output) {
  static const auto op = find<decltype(backward)>("softplus::backward");
  return op.call(grad, saved, beta, threshold, of_output);
}

std::tuple<Tensor, Tensor> double_backward(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output, bool to_input) {
  static const auto op = find<decltype(double_backward)>("softplus::double_backward");
  return op.call(grad_grad, grad, saved, beta, threshold, of_output, to_input);
}

Tensor shifted(const Tensor& input, double beta, std::optional<double> shift) {
  static const auto op = find<decltype(shifted)>("softplus::shifted");
  return op.call(input, beta, shift);
}

Tensor inverse(const Tensor& input, double beta) {
  static const auto op = find<decltype(inverse)>("softplus::inverse");
  return op.call(input, beta);
}

}  // namespace softplus
