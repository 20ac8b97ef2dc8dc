// The registered operators as C++ functions: through the dispatcher, and the CPU kernels below it.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <optional>
#include <tuple>

namespace softplus {

// A threshold from which on the exact function is meant.
constexpr double EXACT = 20.0;

// Whether the kernels read and write a type.
inline bool has_kernels(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf;
}

// Beyond these, beta or 1/beta times an ordinary number leaves float32, which the definition minds.
inline bool ordinary_beta(double beta) {
  return std::abs(beta) >= 0x1p-60 && std::abs(beta) <= 0x1p60;
}

// Whether autograd records a call of these tensors.
template <typename... Tensors>
bool records(const Tensors&... tensors) {
  return at::GradMode::is_enabled() && (tensors.requires_grad() || ...);
}

// Autograd gives gradients of the shape, dtype and device of what they are towards; the results
// have its layout too, as compiled code expects, whatever the layout of the gradients that come in.
template <typename... Gradients>
void check_alike(const at::Tensor& saved, const Gradients&... gradients) {
  TORCH_CHECK(
      ((gradients.sym_sizes() == saved.sym_sizes() &&
        gradients.scalar_type() == saved.scalar_type() && gradients.device() == saved.device()) &&
       ...),
      "softplus: a gradient must have the shape, dtype and device of the saved tensor: ",
      saved.sym_sizes(), " of ", saved.scalar_type(), " on ", saved.device());
}

// Whether backward needs the output alone; otherwise the input is saved.
bool output_determines_gradient(at::ScalarType type, double threshold);

// The operators, through the dispatcher. Of a backward `saved` is the output or the input, and
// `to_input` the gradient towards the input of which the output is saved.
at::Tensor forward(const at::Tensor& input, double beta, double threshold);
at::Tensor backward(
    const at::Tensor& grad, const at::Tensor& saved, double beta, double threshold, bool of_output);
std::tuple<at::Tensor, at::Tensor> double_backward(
    const at::Tensor& grad_grad, const at::Tensor& grad, const at::Tensor& saved, double beta,
    double threshold, bool of_output, bool to_input);
at::Tensor shifted(const at::Tensor& input, double beta, std::optional<double> shift);
at::Tensor inverse(const at::Tensor& input, double beta);

// Those of a beta for each element: all tensors have one shape, beta and what belongs to it are
// float64, or float32 where the input is not float64.
at::Tensor forward_each(
    const at::Tensor& input, const at::Tensor& beta, double threshold, bool shifted);
std::tuple<at::Tensor, at::Tensor> backward_each(
    const at::Tensor& grad, const at::Tensor& input, const at::Tensor& beta, double threshold,
    bool shifted);
std::tuple<at::Tensor, at::Tensor, at::Tensor> double_backward_each(
    const at::Tensor& grad_to_input, const at::Tensor& grad_to_beta, const at::Tensor& grad,
    const at::Tensor& input, const at::Tensor& beta, double threshold, bool shifted);

// Input and beta as the operators above take them, from ones that broadcast; and `forward_each` of
// those, of which autograd keeps and differentiates what was given.
std::tuple<at::Tensor, at::Tensor> for_each(const at::Tensor& input, const at::Tensor& beta);
at::Tensor forward_broadcast(
    const at::Tensor& input, const at::Tensor& beta, double threshold, bool shifted);

// The forward pass over existing memory: over the input's own, with autograd, or another's.
at::Tensor forward_in_place(const at::Tensor& input, double beta, double threshold);
at::Tensor forward_out(
    const at::Tensor& output, const at::Tensor& input, double beta, double threshold);

at::Tensor forward_each_out(
    const at::Tensor& output, const at::Tensor& input, const at::Tensor& beta, double threshold);

// The kernels below the dispatcher and autograd, over memory that the caller gives; where `output`
// is undefined they make it. Arguments that do not fit together raise what PyTorch raises.
at::Tensor forward_into(
    const at::Tensor& output, const at::Tensor& input, double beta, double threshold);
at::Tensor backward_into(
    const at::Tensor& output, const at::Tensor& grad, const at::Tensor& saved, double beta,
    double threshold, bool of_output);
void forward_each_into(
    const at::Tensor& output, const at::Tensor& input, const at::Tensor& beta, double threshold);

// The gradients towards an input and a beta that broadcasts to it, those towards beta summed as
// they come, in float64: `backward_each` writes one for each element, which is read again. None
// where memory lies otherwise than that takes.
std::optional<std::tuple<at::Tensor, at::Tensor>> backward_summed(
    const at::Tensor& grad, const at::Tensor& input, const at::Tensor& beta, double threshold,
    bool shifted);

// ln(sigmoid(x)) and e^(-|x|), both contiguous.
std::tuple<at::Tensor, at::Tensor> log_sigmoid_and_buffer(const at::Tensor& self);

}  // namespace softplus
