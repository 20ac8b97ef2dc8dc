// What the operators' autograd kernels share: nodes, tangents.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <memory>
#include <type_traits>
#include <utility>

#include "node.h"

namespace softplus {

inline at::Tensor tangent_of(const at::Tensor& tensor) { return tensor._fw_grad(0); }

template <typename... Tensors>
bool has_tangent(const Tensors&... tensors) {
  return (tangent_of(tensors).defined() || ...);
}

inline at::Tensor primal_of(const at::Tensor& tensor) {
  return has_tangent(tensor) ? tensor._fw_primal(0) : tensor;
}

inline void set_tangent(const at::Tensor& result, const at::Tensor& tangent) {
  result._set_fw_grad(tangent, 0, /*is_inplace_op=*/false);
}

// Adds tangents, of which any may be undefined.
inline at::Tensor sum(const at::Tensor& a, const at::Tensor& b) {
  return !a.defined() ? b : !b.defined() ? a : a + b;
}

// The result of an operator below autograd.
template <typename Call>
auto below_autograd(const Call& call) {
  const at::AutoDispatchBelowADInplaceOrView below;
  return call();
}

// A node in a pointer of the kind that this release of PyTorch keeps nodes in.
template <typename Kept, typename Kind = decltype(torch::autograd::Edge::function)>
auto owned(const Rule& rule, const Options& options, torch::autograd::edge_list&& edges) {
  if constexpr (std::is_same_v<Kind, std::shared_ptr<torch::autograd::Node>>)
    return std::make_shared<Kept>(rule, options, std::move(edges));
  else return c10::make_intrusive<Kept>(rule, options, std::move(edges));
}

using NodePointer = decltype(owned<Node>(std::declval<const Rule&>(), Options(), {}));

// A node from whose outputs the edges lead on, as the history of some results.
template <typename... Results>
NodePointer record(
    const Rule& rule, const Options& options, torch::autograd::edge_list&& edges,
    const Results&... results) {
  NodePointer node = owned<Node>(rule, options, std::move(edges));
  (torch::autograd::set_history(results, node), ...);
  return node;
}

// Before a kernel writes over memory.
inline void check_writable(const at::Tensor& output) {
  TORCH_CHECK(
      !output.is_inference() || c10::InferenceMode::is_enabled(),
      "a tensor made in inference mode cannot be overwritten outside it: overwrite its clone(), or "
      "call softplus under torch.inference_mode()");
}

}  // namespace softplus
