// A node of autograd's graph: it keeps tensors and numbers, and a formula differentiates with them.
#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <string>
#include <vector>

#include "operators.h"

namespace softplus {

// What an operator's backward needs beside the tensors.
struct Options {
  double beta = 1.0, threshold = EXACT;
  bool of_output = false, to_input = false, shifted = false;
  bool operator==(const Options&) const = default;
};

// What a node computes: the gradients towards the inputs, from those towards the outputs, of which
// one is defined at least, and from what was saved.
struct Rule {
  const char* name;
  torch::autograd::variable_list (*formula)(
      const torch::autograd::variable_list& gradients, const std::vector<at::Tensor>& saved,
      const Options& options);
};

// Written by hand as PyTorch's generated nodes are: torch::autograd::Function refuses functorch,
// makes zeros of undefined gradients, and costs 0.5 microseconds more.
class Node : public torch::autograd::Node {
 public:
  Node(const Rule& rule, const Options& options, torch::autograd::edge_list&& edges)
      : torch::autograd::Node(std::move(edges)), rule(rule), options(options) {}

  // Keeps a tensor for the formula. An output must have got this node as its history before.
  void save(const at::Tensor& tensor, bool is_output = false) {
    saved_.emplace_back(tensor, is_output);
    saves_output_ = is_output;
  }

  std::string name() const override { return rule.name; }
  void release_variables() override;
  void compiled_args(torch::autograd::CompiledNodeArgs& arguments) const override;
  torch::autograd::variable_list apply_with_saved(
      const torch::autograd::variable_list& gradients,
      torch::autograd::SwapSavedVariables& swapped) override;

  const Rule& rule;
  const Options options;

 protected:
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override;

 private:
  std::vector<at::Tensor> unpacked();
  std::vector<torch::autograd::SavedVariable> saved_;
  bool saves_output_ = false;
};

}  // namespace softplus
