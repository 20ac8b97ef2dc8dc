// The calls of the operators through the dispatcher; ops/operators.py has their schemas.
#include "operators.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace softplus {
namespace {

using at::Tensor;

template <typename Function>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

}  // namespace

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

Tensor forward_each(const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  static const auto op = find<decltype(forward_each)>("softplus::forward_each");
  return op.call(input, beta, threshold, shifted);
}

std::tuple<Tensor, Tensor> backward_each(
    const Tensor& grad, const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  static const auto op = find<decltype(backward_each)>("softplus::backward_each");
  return op.call(grad, input, beta, threshold, shifted);
}

std::tuple<Tensor, Tensor, Tensor> double_backward_each(
    const Tensor& grad_to_input, const Tensor& grad_to_beta, const Tensor& grad,
    const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  static const auto op = find<decltype(double_backward_each)>("softplus::double_backward_each");
  return op.call(grad_to_input, grad_to_beta, grad, input, beta, threshold, shifted);
}

}  // namespace softplus
