// The operators on the CPU: the kernels carried over tensors of any strides, on PyTorch's threads.
#include "operators.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "../instruction_set.h"
#include "../kernels.h"
#include "../task.h"
#include "strided.h"

namespace softplus {
namespace {

using at::Tensor;

Dtype dtype_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return Dtype::float32;
    case at::kDouble: return Dtype::float64;
    case at::kBFloat16: return Dtype::bfloat16;
    case at::kHalf: return Dtype::float16;
    default: TORCH_CHECK_TYPE(false, "softplus: no kernel for ", tensor.scalar_type());
  }
}

Parameters parameters_of(double beta, double threshold = EXACT) {
  TORCH_CHECK_VALUE(
      ordinary_beta(beta), "softplus: the kernels take a beta of 2^-60 to 2^60 in magnitude, got ",
      beta);
  return {beta, threshold};
}

// Gradients of this many bytes do not fit into the cache together with their inputs: written around
// it, they cost no reading of what they overwrite. Forward loses by it: 1.31 to 1.37 times ReLU
// against 1.17.
constexpr size_t LARGE = size_t(32) << 20;

bool around_cache(const Tensor& tensor) { return tensor.nbytes() >= LARGE; }

// Runs a kernel over tensors of any strides, on all of PyTorch's threads.
void run_over(
    at::TensorIterator& iterator, Kernel kernel, Dtype dtype, const Parameters& parameters) {
  const int tensors = iterator.ntensors(), first_input = iterator.noutputs();
  int64_t sizes[MOST_TENSORS];
  for (int t = 0; t < tensors; t++) sizes[t] = iterator.element_size(t);
  iterator.for_each([&](char** data, const int64_t* strides, int64_t n, int64_t rows) {
    over_strides(
        data, strides, sizes, tensors, first_input, n, rows, [&](char* const* p, int64_t count) {
          kernel(dtype, p + first_input, p, count, parameters);
        });
  });
}

at::TensorIterator iterator_over(
    at::ArrayRef<Tensor> outputs, at::ArrayRef<Tensor> inputs, bool same_dtype) {
  at::TensorIteratorConfig config;
  config.set_check_mem_overlap(true).check_all_same_dtype(same_dtype);
  for (const Tensor& tensor : outputs) config.add_output(tensor);  // borrowed, like the inputs
  for (const Tensor& tensor : inputs) config.add_const_input(tensor);
  return config.build();
}

// Returns the first output. Where an output is undefined, it is made.
Tensor run(
    Kernel kernel, const Parameters& parameters, at::ArrayRef<Tensor> outputs,
    at::ArrayRef<Tensor> inputs) {
  at::TensorIterator iterator = iterator_over(outputs, inputs, /*same_dtype=*/true);
  run_over(iterator, kernel, dtype_of(inputs.back()), parameters);
  return iterator.output();
}

bool one_thread(const Tensor& tensor) {
  return tensor.numel() <= at::internal::GRAIN_SIZE || at::get_num_threads() == 1;
}

// Whether one call of a kernel on one thread does it, without a TensorIterator, which takes 0.6
// microseconds: a call on 64 elements costs 0.84 without and 1.42 with it, F.softplus 1.23. All
// threads are reached through it alone: an extension, built without OpenMP, has at::parallel_for
// run on one.
template <typename... Tensors>
bool one_call(const Tensor& first, const Tensors&... others) {
  return first.is_contiguous() && (others.is_contiguous() && ...) && one_thread(first);
}

Tensor fresh(const Tensor& like) {
  return at::detail::empty_cpu(
      like.sizes(), like.scalar_type(), /*pin_memory=*/false, at::MemoryFormat::Contiguous);
}

// That call, into a fresh tensor
template <typename... Tensors>
Tensor run_once(
    Kernel kernel, const Parameters& parameters, const Tensor& first, const Tensors&... others) {
  const Tensor output = fresh(first);
  const char* const in[] = {
      static_cast<const char*>(first.const_data_ptr()),
      static_cast<const char*>(others.const_data_ptr())...};
  char* const out[] = {static_cast<char*>(output.mutable_data_ptr())};
  kernel(dtype_of(first), in, out, first.numel(), parameters);
  return output;
}

Kernel backward_kernel(bool of_output) {
  return of_output ? chosen().backward_of_output : chosen().backward_of_input;
}

Parameters backward_parameters(const Tensor& saved, double beta, double threshold) {
  Parameters parameters = parameters_of(beta, threshold);
  parameters.around_cache = around_cache(saved);
  return parameters;
}

Tensor forward_cpu(const Tensor& input, double beta, double threshold) {
  if (!one_call(input)) return forward_into(Tensor(), input, beta, threshold);
  return run_once(chosen().forward, parameters_of(beta, threshold), input);
}

Tensor backward_cpu(
    const Tensor& grad, const Tensor& saved, double beta, double threshold, bool of_output) {
  check_alike(saved, grad);
  if (!one_call(saved, grad))
    return backward_into(at::empty_like(saved), grad, saved, beta, threshold, of_output);
  const Parameters parameters = backward_parameters(saved, beta, threshold);
  return run_once(backward_kernel(of_output), parameters, grad, saved);
}

std::tuple<Tensor, Tensor> double_backward_cpu(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output, bool to_input) {
  check_alike(saved, grad_grad, grad);
  Parameters parameters = parameters_of(beta, threshold);
  parameters.to_input = to_input;
  const Tensor to_grad = at::empty_like(saved), second = at::empty_like(saved);
  run(of_output ? chosen().double_backward_of_output : chosen().double_backward_of_input,
      parameters, {to_grad, second}, {grad_grad, grad, saved});
  return {to_grad, second};
}

Tensor shifted_cpu(const Tensor& input, double beta, std::optional<double> shift) {
  Parameters parameters = parameters_of(beta);
  parameters.shift = shift.value_or(std::numeric_limits<double>::quiet_NaN());
  if (one_call(input)) return run_once(chosen().shifted, parameters, input);
  return run(chosen().shifted, parameters, {Tensor()}, {input});
}

Tensor inverse_cpu(const Tensor& input, double beta) {
  if (one_call(input)) return run_once(chosen().inverse, parameters_of(beta), input);
  return run(chosen().inverse, parameters_of(beta), {Tensor()}, {input});
}

// Kernels with a beta for each element

void check_each(const Tensor& input, const Tensor& beta) {
  const bool single = beta.scalar_type() == at::kFloat && input.scalar_type() != at::kDouble;
  TORCH_CHECK(
      (single || beta.scalar_type() == at::kDouble) && beta.sizes() == input.sizes() &&
          beta.device() == input.device(),
      "softplus: a beta for each element must be float64, or float32 where input is not float64, "
      "and have the shape and device of input, ",
      input.scalar_type(), " of ", input.sizes(), " on ", input.device(), ", got ",
      beta.scalar_type(), " of ", beta.sizes(), " on ", beta.device());
}

// The gradients towards a beta of so many elements or more are summed as they come.
constexpr int64_t LEAST_SUMMED = 16;

// In bytes, from element to element of what is contiguous or has one element for all; -1 else.
int64_t step_of(const Tensor& tensor) {
  if (tensor.is_contiguous()) return tensor.element_size();
  for (int64_t d = 0; d < tensor.dim(); d++)
    if (tensor.stride(d) != 0 && tensor.size(d) != 1) return -1;
  return 0;
}

// The input is the last but one of the inputs, beta the last.
void run_each(
    Kernel kernel, double threshold, bool shifted, at::ArrayRef<Tensor> outputs,
    at::ArrayRef<Tensor> inputs) {
  Parameters parameters;
  parameters.threshold = threshold;
  parameters.shifted = shifted;
  parameters.single = inputs.back().scalar_type() == at::kFloat;
  const Tensor& input = inputs[inputs.size() - 2];
  const Dtype dtype = dtype_of(input);
  // As one_call, with one beta for all beside a beta for each.
  char* data[MOST_TENSORS];
  int64_t strides[2 * MOST_TENSORS] = {}, sizes[MOST_TENSORS];
  bool simple = one_thread(input);
  int tensors = 0;
  for (const auto list : {outputs, inputs}) {
    for (const Tensor& tensor : list) {
      data[tensors] = static_cast<char*>(const_cast<void*>(tensor.const_data_ptr()));
      sizes[tensors] = tensor.element_size();
      strides[tensors] = step_of(tensor);
      simple = simple && strides[tensors++] >= (list.data() == outputs.data() ? 1 : 0);
    }
  }
  if (simple) {
    const auto first_input = static_cast<int>(outputs.size());
    const auto call = [&](char* const* p, int64_t count) {
      kernel(dtype, p + first_input, p, count, parameters);
    };
    over_strides(data, strides, sizes, tensors, first_input, input.numel(), 1, call);
    return;
  }
  at::TensorIterator iterator = iterator_over(outputs, inputs, /*same_dtype=*/false);
  run_over(iterator, kernel, dtype, parameters);
}

// (inner, count), as `pattern` in calls.py finds them: element i of a dense tensor in memory has
// the (i / inner % count)th beta. None where the betas lie otherwise.
std::optional<std::array<int64_t, 2>> pattern(const Tensor& dense, const Tensor& beta) {
  std::vector<int64_t> dimensions;
  for (int64_t d = 0; d < dense.dim(); d++)
    if (dense.size(d) != 1) dimensions.push_back(d);
  std::sort(dimensions.begin(), dimensions.end(), [&](int64_t a, int64_t b) {
    return dense.stride(a) < dense.stride(b);
  });
  int64_t inner = 1, count = 1;
  bool repeats = false;
  for (const int64_t d : dimensions) {
    const int64_t size = dense.size(d), step = beta.stride(d);
    if (step == 0 && count == 1) inner *= size;
    else if (step == 0) repeats = true;
    else if (step == count && !repeats) count *= size;
    else return std::nullopt;
  }
  return {{count == 1 ? 1 : inner, count}};
}

Tensor forward_each_cpu(const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  check_each(input, beta);
  const Tensor output = at::empty_like(input);
  run_each(chosen().forward_each, threshold, shifted, {output}, {input, beta});
  return output;
}

std::tuple<Tensor, Tensor> backward_each_cpu(
    const Tensor& grad, const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  check_each(input, beta);
  check_alike(input, grad);
  const Tensor to_input = at::empty_like(input),
               to_beta = at::empty_like(input, beta.scalar_type());
  run_each(chosen().backward_each, threshold, shifted, {to_input, to_beta}, {grad, input, beta});
  return {to_input, to_beta};
}

std::tuple<Tensor, Tensor, Tensor> double_backward_each_cpu(
    const Tensor& grad_to_input, const Tensor& grad_to_beta, const Tensor& grad,
    const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  check_each(input, beta);
  check_alike(input, grad_to_input, grad);
  check_alike(beta, grad_to_beta);
  const Tensor to_grad = at::empty_like(input), to_input = at::empty_like(input),
               to_beta = at::empty_like(input, beta.scalar_type());
  run_each(
      chosen().double_backward_each, threshold, shifted, {to_grad, to_input, to_beta},
      {grad_to_input, grad_to_beta, grad, input, beta});
  return {to_grad, to_input, to_beta};
}

}  // namespace

std::optional<std::tuple<Tensor, Tensor>> backward_summed(
    const Tensor& grad, const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  const auto [x, b] = for_each(input, beta);
  const bool alike = x.is_same(input) && grad.sizes() == input.sizes() &&
                     grad.scalar_type() == input.scalar_type();
  if (!alike || input.numel() < LEAST_SUMMED * beta.numel()) return std::nullopt;
  const Tensor to_input = at::empty_like(input), to_beta = at::empty_like(beta, at::kDouble);
  const auto found = pattern(to_input, b);
  if (!found || (*found)[1] != beta.numel()) return std::nullopt;
  const auto laid_out = [&](const Tensor& tensor) {
    return tensor.strides() == to_input.strides() ? tensor : at::empty_like(to_input).copy_(tensor);
  };
  Task task = {
      .kernel = chosen().backward_each,
      .dtype = dtype_of(input),
      .n = input.numel(),
      .outputs = 2,
      .betas = {b.const_data_ptr(), (*found)[0], (*found)[1]},
      .summed = true};
  task.parameters.threshold = threshold;
  task.parameters.shifted = shifted;
  task.parameters.single = b.scalar_type() == at::kFloat;
  const Tensor in[] = {laid_out(grad), laid_out(input)};
  for (const Tensor& tensor : {to_input, to_beta, in[0], in[1], b}) {
    task.data[task.tensors] = static_cast<char*>(const_cast<void*>(tensor.const_data_ptr()));
    task.sizes[task.tensors++] = tensor.element_size();
  }
  run_on_threads(task, at::get_num_threads());
  return {{to_input, to_beta}};
}

Tensor forward_into(const Tensor& output, const Tensor& input, double beta, double threshold) {
  return run(chosen().forward, parameters_of(beta, threshold), {output}, {input});
}

Tensor backward_into(
    const Tensor& output, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output) {
  const Parameters parameters = backward_parameters(saved, beta, threshold);
  return run(backward_kernel(of_output), parameters, {output}, {grad, saved});
}

void forward_each_into(
    const Tensor& output, const Tensor& input, const Tensor& beta, double threshold) {
  run_each(chosen().forward_each, threshold, /*shifted=*/false, {output}, {input, beta});
}

std::tuple<Tensor, Tensor> log_sigmoid_and_buffer(const Tensor& self) {
  const Tensor input = self.contiguous(), output = fresh(input), buffer = fresh(input);
  run(chosen().log_sigmoid, Parameters(), {output, buffer}, {input});
  return {output, buffer};
}

TORCH_LIBRARY_IMPL(softplus, CPU, m) {
  m.impl("forward", forward_cpu);
  m.impl("backward", backward_cpu);
  m.impl("double_backward", double_backward_cpu);
  m.impl("shifted", shifted_cpu);
  m.impl("inverse", inverse_cpu);
  m.impl("forward_each", forward_each_cpu);
  m.impl("backward_each", backward_each_cpu);
  m.impl("double_backward_each", double_backward_each_cpu);
}

}  // namespace softplus
