// The operators under autograd: what is saved, and how gradients are themselves differentiated.
#include "operators.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "../plain.h"

namespace softplus {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <typename... Tensors>
bool records(const Tensors&... tensors) {
  return at::GradMode::is_enabled() && (tensors.requires_grad() || ...);
}

// The arguments of an operator that its backward needs beside the tensors.
void keep(AutogradContext* context, double beta, double threshold, bool of_output) {
  context->saved_data["beta"] = beta;
  context->saved_data["threshold"] = threshold;
  context->saved_data["of_output"] = of_output;
}

struct Kept {
  explicit Kept(AutogradContext* context)
      : beta(context->saved_data["beta"].toDouble()),
        threshold(context->saved_data["threshold"].toDouble()),
        of_output(context->saved_data["of_output"].toBool()) {}
  double beta, threshold;
  bool of_output;
};

// A tensor that a Function reads and that is none of those it differentiates towards.
struct Aside {
  Tensor tensor;
};

// Differentiates towards `grad` and `towards`: what is saved, or with `to_input` the input of which
// an output is saved.
struct Backward : torch::autograd::Function<Backward> {
  static Tensor forward(
      AutogradContext* context, const Tensor& grad, const Tensor& /*towards*/, const Aside& saved,
      double beta, double threshold, bool of_output, bool to_input) {
    at::AutoDispatchBelowADInplaceOrView below;
    keep(context, beta, threshold, of_output);
    context->saved_data["to_input"] = to_input;
    context->save_for_backward({grad, saved.tensor});
    return softplus::backward(grad, saved.tensor, beta, threshold, of_output);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const Kept kept(context);
    const variable_list tensors = context->get_saved_variables();
    auto [to_grad, second] = double_backward(
        grads[0], tensors[0], tensors[1], kept.beta, kept.threshold, kept.of_output,
        context->saved_data["to_input"].toBool());
    return {to_grad, second, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }

  // From the saved output straight towards the input: one kernel instead of two, as no gradient
  // towards the output then passes through Forward (57 microseconds at 65,536 elements, not 74).
  static Tensor from_output(const Tensor& grad, const Tensor& output, const Kept& kept) {
    Tensor towards = at::empty({0}, output.options());  // stands where the input stood in the graph
    torch::autograd::impl::set_gradient_edge(towards, output.grad_fn()->next_edge(0));
    return apply(grad, towards, Aside{output}, kept.beta, kept.threshold, true, true);
  }
};

// Where `in_place`, writes over `input` and returns its memory as another tensor, for the history
// of `input` itself may be that of a view: saved with it, the node would hold itself for ever, and
// double backward would go on at the view's base.
struct Forward : torch::autograd::Function<Forward> {
  static Tensor forward(
      AutogradContext* context, const Tensor& input, double beta, double threshold, bool in_place) {
    at::AutoDispatchBelowADInplaceOrView below;
    const bool of_output = output_determines_gradient(input.scalar_type(), threshold);
    keep(context, beta, threshold, of_output);
    const Tensor output = in_place ? forward_out(input, input, beta, threshold).tensor_data()
                                   : softplus::forward(input, beta, threshold);
    context->save_for_backward({of_output ? output : input});
    return output;
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const Kept kept(context);
    const Tensor& grad = grads[0];
    const Tensor saved = context->get_saved_variables()[0];
    return {
        kept.of_output && records(grad, saved) && plain(grad) && plain_call()
            ? Backward::from_output(grad, saved, kept)
            : softplus::backward(grad, saved, kept.beta, kept.threshold, kept.of_output),
        Tensor(), Tensor(), Tensor()};
  }
};

struct Shifted : torch::autograd::Function<Shifted> {
  static Tensor forward(
      AutogradContext* context, const Tensor& input, double beta, std::optional<double> shift) {
    at::AutoDispatchBelowADInplaceOrView below;
    keep(context, beta, EXACT, false);
    context->save_for_backward({input});
    return softplus::shifted(input, beta, shift);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const Kept kept(context);
    return {
        softplus::backward(grads[0], context->get_saved_variables()[0], kept.beta, EXACT, false),
        Tensor(), Tensor()};
  }
};

template <typename... Tensors>
bool has_tangent(const Tensors&... tensors) {
  return (tensors._fw_grad(0).defined() || ...);
}

// The entry sends a tangent to the definition: here it would be lost without a word.
void refuse_tangent(const Tensor& input) {
  TORCH_CHECK(
      !has_tangent(input),
      "input has a forward-mode tangent, which this operator does not differentiate: call "
      "softplus.softplus, softplus.shifted_softplus or softplus.inverse_softplus");
}

Tensor forward_autograd(const Tensor& input, double beta, double threshold) {
  refuse_tangent(input);
  if (records(input)) return Forward::apply(input, beta, threshold, false);
  at::AutoDispatchBelowADInplaceOrView below;
  return forward(input, beta, threshold);
}

// beta times the value saved, in the type in which the formulas run.
Tensor exponent(const Tensor& saved, double beta) {
  const auto type = saved.scalar_type();
  return saved.to(at::isReducedFloatingType(type) ? at::kFloat : type) * beta;
}

Tensor slope_composed(const Tensor& u, double threshold, bool of_output) {
  const Tensor slope = of_output ? -at::expm1(-u) : at::sigmoid(u);
  return threshold < EXACT ? slope.masked_fill(u > threshold, 1) : slope;
}

// The same in ATen's operators, which differentiate themselves in every mode and to any order.
Tensor backward_composed(
    const Tensor& grad, const Tensor& saved, double beta, double threshold, bool of_output) {
  const Tensor slope = slope_composed(exponent(saved, beta), threshold, of_output);
  return (grad * slope).to(saved.scalar_type());
}

Tensor backward_autograd(
    const Tensor& grad, const Tensor& saved, double beta, double threshold, bool of_output) {
  if (has_tangent(grad, saved)) return backward_composed(grad, saved, beta, threshold, of_output);
  if (records(grad, saved))
    return Backward::apply(grad, saved, Aside{saved}, beta, threshold, of_output, false);
  at::AutoDispatchBelowADInplaceOrView below;
  return backward(grad, saved, beta, threshold, of_output);
}

std::tuple<Tensor, Tensor> double_backward_composed(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output, bool to_input) {
  const Tensor u = exponent(saved, beta), slope = slope_composed(u, threshold, of_output);
  Tensor curvature = beta * (of_output ? at::exp(-u) : slope * at::sigmoid(-u));
  if (of_output && to_input) curvature = curvature * slope;
  if (threshold < EXACT) curvature = curvature.masked_fill(u > threshold, 0);
  const auto type = saved.scalar_type();
  return {(grad_grad * slope).to(type), (grad_grad * grad * curvature).to(type)};
}

std::tuple<Tensor, Tensor> double_backward_autograd(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output, bool to_input) {
  // Where a third derivative is wanted, or a tangent is carried.
  if (records(grad_grad, grad, saved) || has_tangent(grad_grad, grad, saved))
    return double_backward_composed(grad_grad, grad, saved, beta, threshold, of_output, to_input);
  at::AutoDispatchBelowADInplaceOrView below;
  return double_backward(grad_grad, grad, saved, beta, threshold, of_output, to_input);
}

Tensor shifted_autograd(const Tensor& input, double beta, std::optional<double> shift) {
  refuse_tangent(input);
  if (records(input)) return Shifted::apply(input, beta, shift);
  at::AutoDispatchBelowADInplaceOrView below;
  return shifted(input, beta, shift);
}

Tensor inverse_autograd(const Tensor& input, double beta) {
  refuse_tangent(input);
  TORCH_CHECK(
      !records(input), "softplus::inverse has no backward: the definition differentiates it");
  at::AutoDispatchBelowADInplaceOrView below;
  return inverse(input, beta);
}

}  // namespace

bool output_determines_gradient(at::ScalarType type, double threshold) {
  // In float16 a small output is subnormal: 17.5% error in the gradient, 0.05% from the input.
  return threshold >= EXACT && type != at::kHalf;
}

Tensor forward_in_place(const Tensor& input, double beta, double threshold) {
  if (records(input)) {
    torch::autograd::check_inplace(input, true);  // a leaf is refused before it is overwritten
    const Tensor output = Forward::apply(input, beta, threshold, true);
    torch::autograd::impl::rebase_history(input, {output.grad_fn(), 0});
    return input;
  }
  return forward_out(input, input, beta, threshold);
}

Tensor forward_out(const Tensor& output, const Tensor& input, double beta, double threshold) {
  TORCH_CHECK(
      !output.is_inference() || c10::InferenceMode::is_enabled(),
      "a tensor made in inference mode cannot be overwritten outside it: overwrite its clone(), or "
      "call softplus under torch.inference_mode()");
  forward_into(output, input, beta, threshold);
  torch::autograd::increment_version(output);
  return output;
}

TORCH_LIBRARY_IMPL(softplus, Autograd, m) {
  m.impl("forward", forward_autograd);
  m.impl("backward", backward_autograd);
  m.impl("double_backward", double_backward_autograd);
  m.impl("shifted", shifted_autograd);
  m.impl("inverse", inverse_autograd);
}

}  // namespace softplus
