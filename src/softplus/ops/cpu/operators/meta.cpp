// The operators on meta tensors, which fake tensors use: shapes and strides alone.
#include "operators.h"

#include <ATen/ATen.h>
#include <torch/library.h>

namespace softplus {
namespace {

using at::Tensor;

Tensor forward_meta(const Tensor& input, double, double) { return at::empty_like(input); }
Tensor backward_meta(const Tensor& grad, const Tensor& saved, double, double, bool) {
  check_alike(saved, grad);
  return at::empty_like(saved);
}
std::tuple<Tensor, Tensor> double_backward_meta(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double, double, bool, bool) {
  check_alike(saved, grad_grad, grad);
  return {at::empty_like(saved), at::empty_like(saved)};
}
Tensor shifted_meta(const Tensor& input, double, std::optional<double>) {
  return at::empty_like(input);
}
Tensor inverse_meta(const Tensor& input, double) { return at::empty_like(input); }

}  // namespace

TORCH_LIBRARY_IMPL(softplus, Meta, m) {
  m.impl("forward", forward_meta);
  m.impl("backward", backward_meta);
  m.impl("double_backward", double_backward_meta);
  m.impl("shifted", shifted_meta);
  m.impl("inverse", inverse_meta);
}

}  // namespace softplus
