// Derivatives in ATen's operators, which differentiate themselves in every mode and to any order:
// for third derivatives, and for tangents of second ones.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/variable.h>

#include <tuple>

namespace softplus::composed {

std::tuple<at::Tensor, at::Tensor> double_backward(
    const at::Tensor& grad_grad, const at::Tensor& grad, const at::Tensor& saved, double beta,
    double threshold, bool of_output, bool to_input);

// Of double backward: the gradients towards grad_grad, grad and saved, from those towards its two
// results, of which one may be undefined.
torch::autograd::variable_list third(
    const at::Tensor& to_grad, const at::Tensor& to_saved, const at::Tensor& grad_grad,
    const at::Tensor& grad, const at::Tensor& saved, double beta, double threshold, bool of_output,
    bool to_input);

at::Tensor inverse_backward(const at::Tensor& grad, const at::Tensor& input, double beta);

std::tuple<at::Tensor, at::Tensor> backward_each(
    const at::Tensor& grad, const at::Tensor& input, const at::Tensor& beta, double threshold,
    bool shifted);

std::tuple<at::Tensor, at::Tensor, at::Tensor> double_backward_each(
    const at::Tensor& grad_to_input, const at::Tensor& grad_to_beta, const at::Tensor& grad,
    const at::Tensor& input, const at::Tensor& beta, double threshold, bool shifted);

}  // namespace softplus::composed
