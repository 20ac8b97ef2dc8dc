// The registered operators as C++ functions, for the entry.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace softplus {

// A threshold from which on the exact function is meant.
constexpr double EXACT = 20.0;

// Whether backward needs the output alone; otherwise the input is saved.
bool output_determines_gradient(at::ScalarType type, double threshold);

// The operators, through the dispatcher.
at::Tensor forward(const at::Tensor& input, double beta, double threshold);
at::Tensor shifted(const at::Tensor& input, double beta, std::optional<double> shift);
at::Tensor inverse(const at::Tensor& input, double beta);

// The forward pass over existing memory: over the input's own, with autograd, or another's.
at::Tensor forward_in_place(const at::Tensor& input, double beta, double threshold);
at::Tensor forward_out(
    const at::Tensor& output, const at::Tensor& input, double beta, double threshold);

}  // namespace softplus
