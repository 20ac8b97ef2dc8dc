// The operators on the CPU: the kernels carried over tensors of any strides, on PyTorch's threads.
#include "operators.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <torch/library.h>

#include <limits>

#include "../instruction_set.h"
#include "../kernels.h"
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

// Runs a kernel over tensors of any strides, on all of PyTorch's threads, and returns its first
// output. Where an output is undefined, it is made.
Tensor run(
    Kernel kernel, const Parameters& parameters, at::ArrayRef<Tensor> outputs,
    at::ArrayRef<Tensor> inputs) {
  const Dtype dtype = dtype_of(inputs.back());
  at::TensorIteratorConfig config;
  config.set_check_mem_overlap(true).check_all_same_dtype(true);
  for (const Tensor& tensor : outputs) config.add_output(tensor);  // borrowed, like the inputs
  for (const Tensor& tensor : inputs) config.add_const_input(tensor);
  at::TensorIterator iterator = config.build();
  const int tensors = iterator.ntensors(), first_input = iterator.noutputs();
  int64_t sizes[MOST_TENSORS];
  for (int t = 0; t < tensors; t++) sizes[t] = iterator.element_size(t);
  iterator.for_each([&](char** data, const int64_t* strides, int64_t n, int64_t rows) {
    over_strides(
        data, strides, sizes, tensors, first_input, n, rows, [&](char* const* p, int64_t count) {
          kernel(dtype, p + first_input, p, count, parameters);
        });
  });
  return iterator.output();
}

// Whether one call of a kernel on one thread does it, without a TensorIterator, which takes 0.6
// microseconds: a call on 64 elements costs 0.84 without and 1.42 with it, F.softplus 1.23. All
// threads are reached through it alone: an extension, built without OpenMP, has at::parallel_for
// run on one.
template <typename... Tensors>
bool one_call(const Tensor& first, const Tensors&... others) {
  return first.is_contiguous() && (others.is_contiguous() && ...) &&
         (first.numel() <= at::internal::GRAIN_SIZE || at::get_num_threads() == 1);
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
  return run(chosen().shifted, parameters, {Tensor()}, {input});
}

Tensor inverse_cpu(const Tensor& input, double beta) {
  return run(chosen().inverse, parameters_of(beta), {Tensor()}, {input});
}

}  // namespace

Tensor forward_into(const Tensor& output, const Tensor& input, double beta, double threshold) {
  return run(chosen().forward, parameters_of(beta, threshold), {output}, {input});
}

Tensor backward_into(
    const Tensor& output, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output) {
  const Parameters parameters = backward_parameters(saved, beta, threshold);
  return run(backward_kernel(of_output), parameters, {output}, {grad, saved});
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
}

}  // namespace softplus
