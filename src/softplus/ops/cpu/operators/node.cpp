// What autograd's engine, and its compiler, do with a node.
#include "node.h"

#include <torch/csrc/dynamo/compiled_autograd.h>

#include <mutex>
#include <string_view>

namespace softplus {

using at::Tensor;
using torch::autograd::variable_list;

void Node::release_variables() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& variable : saved_) variable.reset_data();
}

std::vector<Tensor> Node::unpacked() {
  std::vector<Tensor> tensors;
  tensors.reserve(saved_.size());
  try {
    for (const auto& variable : saved_)
      tensors.push_back(saves_output_ ? variable.unpack(getptr()) : variable.unpack());
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    if (!saves_output_ || message.find("modified by an inplace") == std::string::npos) throw;
    TORCH_CHECK(
        false, message,
        "\nsoftplus keeps its result for backward, as ReLU does, and not its input. Where y is "
        "that result, write `y = y + 1` in the place of `y += 1`; or call softplus with "
        "threshold=float('inf'), which is the exact function too and keeps the input.");
  }
  return tensors;
}

variable_list Node::apply(variable_list&& gradients) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const Tensor& gradient : gradients)
    if (gradient.defined()) return rule.formula(gradients, unpacked(), options);
  return variable_list(num_outputs());
}

// Compiled autograd asks for all that the formula depends on, and later calls it with other
// tensors.

void Node::compiled_args(torch::autograd::CompiledNodeArgs& arguments) const {
  arguments.collect(name());
  for (const auto& variable : saved_) arguments.collect(variable, saves_output_);
  arguments.collect(options.beta);
  arguments.collect(options.threshold);
  arguments.collect(options.of_output);
  arguments.collect(options.to_input);
  arguments.collect(options.shifted);
}

variable_list Node::apply_with_saved(
    const variable_list& gradients, torch::autograd::SwapSavedVariables& swapped) {
  namespace dynamo = torch::dynamo::autograd;
  for (auto& variable : saved_) swapped.before(variable);
  dynamo::PackedArgs packed;
  packed.pack(unpacked());
  const auto run = [rule = this->rule, options = this->options](
                       const variable_list& given, const std::vector<c10::IValue>& arguments) {
    return rule.formula(given, arguments[0].toTensorVector(), options);
  };
  const auto& compiler = dynamo::getPyCompilerInterface();
  const std::string bound = compiler->bind_function(
      swapped.get_py_compiler(), name(), run, {at::ListType::ofTensors()},
      /*is_custom_function=*/true);
  using Metadata = std::vector<std::optional<torch::autograd::InputMetadata>>;
  const auto results = compiler->call_function(
      swapped.get_py_compiler(), "apply_functional", bound, gradients, packed.vec(),
      dynamo::IValuePacker<Metadata>::pack(dynamo::get_input_metadata(next_edges())));
  for (auto& variable : saved_) swapped.after(variable);
  return results;
}

}  // namespace softplus
