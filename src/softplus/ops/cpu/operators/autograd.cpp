// The operators of a number beta under autograd: what is saved, what differentiates what, tangents.
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/library.h>

#include <cmath>

#include "composed.h"
#include "graph.h"

namespace softplus {
namespace {

using at::Tensor;
using torch::autograd::collect_next_edges;
using torch::autograd::Edge;
using torch::autograd::variable_list;

const Rule FORWARD = {
    "SoftplusBackward",
    [](const variable_list& gradients, const std::vector<Tensor>& saved, const Options& options) {
      return variable_list{
          backward(gradients[0], saved[0], options.beta, options.threshold, options.of_output)};
    }};

const Rule BACKWARD = {
    "SoftplusBackwardBackward",
    [](const variable_list& gradients, const std::vector<Tensor>& saved, const Options& options) {
      auto [to_grad, second] = double_backward(
          gradients[0], saved[0], saved[1], options.beta, options.threshold, options.of_output,
          options.to_input);
      return variable_list{to_grad, second};
    }};

const Rule DOUBLE_BACKWARD = {
    "SoftplusDoubleBackwardBackward",
    [](const variable_list& gradients, const std::vector<Tensor>& saved, const Options& options) {
      return composed::third(
          gradients[0], gradients[1], saved[0], saved[1], saved[2], options.beta, options.threshold,
          options.of_output, options.to_input);
    }};

const Rule SHIFTED = {
    "ShiftedSoftplusBackward",
    [](const variable_list& gradients, const std::vector<Tensor>& saved, const Options& options) {
      return variable_list{backward(gradients[0], saved[0], options.beta, EXACT, false)};
    }};

const Rule INVERSE = {
    "InverseSoftplusBackward",
    [](const variable_list& gradients, const std::vector<Tensor>& saved, const Options& options) {
      return variable_list{composed::inverse_backward(gradients[0], saved[0], options.beta)};
    }};

Tensor forward_autograd(const Tensor& input, double beta, double threshold) {
  const Tensor output = below_autograd([&] { return forward(input, beta, threshold); });
  const bool recorded = records(input), dual = has_tangent(input);
  if (!recorded && !dual) return output;
  const bool of_output = output_determines_gradient(input.scalar_type(), threshold);
  NodePointer node;
  if (recorded)
    node = record(FORWARD, {beta, threshold, of_output}, collect_next_edges(input), output);
  if (dual) {
    const Tensor saved = of_output ? output : primal_of(input);
    set_tangent(output, backward(tangent_of(input), saved, beta, threshold, of_output));
  }
  if (recorded) node->save(of_output ? output : input, of_output);
  return output;
}

// Where what backward reads is the output of forward, the gradient goes straight towards its input:
// one kernel instead of two, as none towards the output then passes through FORWARD (57
// microseconds at 65,536 elements, not 74).
Edge edge_towards(const Tensor& saved, Options& options) {
  const auto* node = dynamic_cast<const Node*>(saved.grad_fn().get());
  options.to_input = node && &node->rule == &FORWARD && node->options == options;
  return options.to_input ? node->next_edge(0) : torch::autograd::impl::gradient_edge(saved);
}

Tensor backward_autograd(
    const Tensor& grad, const Tensor& saved, double beta, double threshold, bool of_output) {
  const Tensor result =
      below_autograd([&] { return backward(grad, saved, beta, threshold, of_output); });
  if (records(grad, saved)) {
    Options options = {beta, threshold, of_output};
    Edge towards =
        of_output ? edge_towards(saved, options) : torch::autograd::impl::gradient_edge(saved);
    const auto node = record(
        BACKWARD, options, {torch::autograd::impl::gradient_edge(grad), std::move(towards)},
        result);
    node->save(grad);
    node->save(saved);
  }
  if (has_tangent(grad, saved)) {
    const Tensor g = primal_of(grad), value = primal_of(saved);
    Tensor of_grad, of_saved;
    if (has_tangent(grad)) of_grad = backward(tangent_of(grad), value, beta, threshold, of_output);
    if (has_tangent(saved))
      of_saved = std::get<1>(double_backward(
          tangent_of(saved), g, value, beta, threshold, of_output, /*to_input=*/false));
    set_tangent(result, sum(of_grad, of_saved));
  }
  return result;
}

std::tuple<Tensor, Tensor> double_backward_autograd(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output, bool to_input) {
  if (has_tangent(grad_grad, grad, saved))
    return composed::double_backward(grad_grad, grad, saved, beta, threshold, of_output, to_input);
  const auto results = below_autograd([&] {
    return double_backward(grad_grad, grad, saved, beta, threshold, of_output, to_input);
  });
  if (records(grad_grad, grad, saved)) {
    const auto node = record(
        DOUBLE_BACKWARD, {beta, threshold, of_output, to_input},
        collect_next_edges(grad_grad, grad, saved), std::get<0>(results), std::get<1>(results));
    for (const Tensor& tensor : {grad_grad, grad, saved}) node->save(tensor);
  }
  return results;
}

Tensor shifted_autograd(const Tensor& input, double beta, std::optional<double> shift) {
  const Tensor output = below_autograd([&] { return shifted(input, beta, shift); });
  if (records(input)) record(SHIFTED, {beta}, collect_next_edges(input), output)->save(input);
  if (has_tangent(input))
    set_tangent(output, backward(tangent_of(input), primal_of(input), beta, EXACT, false));
  return output;
}

Tensor inverse_autograd(const Tensor& input, double beta) {
  const Tensor output = below_autograd([&] { return inverse(input, beta); });
  if (records(input)) record(INVERSE, {beta}, collect_next_edges(input), output)->save(input);
  if (has_tangent(input))
    set_tangent(output, composed::inverse_backward(tangent_of(input), primal_of(input), beta));
  return output;
}

}  // namespace

bool output_determines_gradient(at::ScalarType type, double threshold) {
  // In float16 a small output is subnormal: 17.5% error in the gradient, 0.05% from the input.
  return threshold >= EXACT && !std::isinf(threshold) && type != at::kHalf;
}

Tensor forward_in_place(const Tensor& input, double beta, double threshold) {
  const bool recorded = records(input);
  // A leaf is refused before it is overwritten.
  if (recorded) torch::autograd::check_inplace(input, true);
  auto edges = recorded ? collect_next_edges(input) : torch::autograd::edge_list();
  below_autograd([&] { return forward_out(input, input, beta, threshold); });
  if (recorded) {
    // The memory as another tensor, for the history of `input` itself may be that of a view: saved
    // with it, the node would hold itself for ever, and double backward would go on at the base.
    const Tensor output = input.tensor_data();
    const auto node = record(FORWARD, {beta, threshold, true}, std::move(edges), output);
    node->save(output, true);
    torch::autograd::impl::rebase_history(input, {node, 0});
  }
  return input;
}

Tensor forward_out(const Tensor& output, const Tensor& input, double beta, double threshold) {
  check_writable(output);
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
