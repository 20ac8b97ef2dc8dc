// The registered operators: schema, CPU and Meta implementations, autograd.
#include "operators.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <limits>
#include <tuple>

#include "instruction_set.h"
#include "kernels.h"
#include "plain.h"
#include "strided.h"

namespace softplus {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

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

// Calls kernel(pointers, n) over all elements, on all of PyTorch's threads; the pointers are those
// of the outputs, then of the inputs.
template <typename Kernel>
void run(at::TensorIteratorBase& iterator, const Kernel& kernel) {
  const int tensors = iterator.ntensors(), outputs = iterator.noutputs();
  const int64_t size = iterator.element_size(0);
  iterator.for_each([&](char** data, const int64_t* strides, int64_t n) {
    over_strides(data, strides, tensors, outputs, n, size, kernel);
  });
}

// The iterator borrows the tensors, which must outlive it.
at::TensorIterator iterate(at::ArrayRef<Tensor> outputs, at::ArrayRef<Tensor> inputs) {
  at::TensorIteratorConfig config;
  config.set_check_mem_overlap(true).check_all_same_dtype(true);
  for (const Tensor& tensor : outputs) config.add_output(tensor);
  for (const Tensor& tensor : inputs) config.add_const_input(tensor);
  return config.build();
}

// Whether one call of a kernel on one thread does it, without a TensorIterator, which takes 0.6
// microseconds: a call on 64 elements costs 0.84 without and 1.42 with it, F.softplus 1.23. All
// threads are reached through it alone: an extension, built without OpenMP, has at::parallel_for run
// on one.
template <typename... Tensors>
bool one_call(const Tensor& first, const Tensors&... others) {
  return first.is_contiguous() && (others.is_contiguous() && ...) &&
         (first.numel() <= at::internal::GRAIN_SIZE || at::get_num_threads() == 1);
}

Tensor fresh(const Tensor& like) {
  return at::detail::empty_cpu(
      like.sizes(), like.scalar_type(), /*pin_memory=*/false, at::MemoryFormat::Contiguous);
}

// Autograd gives gradients of the shape, dtype and device of what they are towards; the results have
// its layout too, as compiled code expects, whatever the layout of the gradients that come in.
template <typename... Gradients>
void check_alike(const Tensor& saved, const Gradients&... gradients) {
  TORCH_CHECK(
      ((gradients.sym_sizes() == saved.sym_sizes() &&
        gradients.scalar_type() == saved.scalar_type() && gradients.device() == saved.device()) &&
       ...),
      "softplus: a gradient must have the shape, dtype and device of the saved tensor: ",
      saved.sym_sizes(), " of ", saved.scalar_type(), " on ", saved.device());
}

}  // namespace

// ---- CPU ----

Tensor forward_into(
    const Tensor& output, const Tensor& input, double beta, double threshold) {
  const Dtype dtype = dtype_of(input);
  const Parameters parameters = parameters_of(beta, threshold);
  auto iterator = iterate({output}, {input});
  run(iterator, [&](char* const* p, int64_t n) {
    chosen().forward(dtype, p[1], p[0], n, parameters);
  });
  return iterator.output();
}

Tensor backward_into(
    const Tensor& output, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output) {
  const Dtype dtype = dtype_of(saved);
  const auto kernel = of_output ? chosen().backward_of_output : chosen().backward_of_input;
  Parameters parameters = parameters_of(beta, threshold);
  parameters.around_cache = around_cache(saved);
  auto iterator = iterate({output}, {grad, saved});
  run(iterator, [&](char* const* p, int64_t n) { kernel(dtype, p[1], p[2], p[0], n, parameters); });
  return iterator.output();
}

std::tuple<Tensor, Tensor> log_sigmoid_and_buffer(const Tensor& self) {
  const Tensor input = self.contiguous(), output = fresh(input), buffer = fresh(input);
  const Dtype dtype = dtype_of(input);
  auto iterator = iterate({output, buffer}, {input});
  run(iterator, [&](char* const* p, int64_t n) {
    chosen().log_sigmoid(dtype, p[2], p[0], p[1], n, Parameters());
  });
  return {output, buffer};
}

namespace {

Tensor forward_cpu(const Tensor& input, double beta, double threshold) {
  if (!one_call(input)) return forward_into(Tensor(), input, beta, threshold);
  const Tensor output = fresh(input);
  chosen().forward(
      dtype_of(input), input.const_data_ptr(), output.mutable_data_ptr(), input.numel(),
      parameters_of(beta, threshold));
  return output;
}

Tensor backward_cpu(
    const Tensor& grad, const Tensor& saved, double beta, double threshold, bool of_output) {
  check_alike(saved, grad);
  if (!one_call(saved, grad))
    return backward_into(at::empty_like(saved), grad, saved, beta, threshold, of_output);
  const Tensor output = fresh(saved);
  Parameters parameters = parameters_of(beta, threshold);
  parameters.around_cache = around_cache(saved);
  const auto kernel = of_output ? chosen().backward_of_output : chosen().backward_of_input;
  kernel(
      dtype_of(saved), grad.const_data_ptr(), saved.const_data_ptr(), output.mutable_data_ptr(),
      saved.numel(), parameters);
  return output;
}

std::tuple<Tensor, Tensor> double_backward_cpu(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta,
    double threshold, bool of_output, bool to_input) {
  check_alike(saved, grad_grad, grad);
  const Dtype dtype = dtype_of(saved);
  Parameters parameters = parameters_of(beta, threshold);
  parameters.to_input = to_input;
  const auto kernel =
      of_output ? chosen().double_backward_of_output : chosen().double_backward_of_input;
  const Tensor to_grad = at::empty_like(saved), second = at::empty_like(saved);
  auto iterator = iterate({to_grad, second}, {grad_grad, grad, saved});
  run(iterator, [&](char* const* p, int64_t n) {
    kernel(dtype, p[2], p[3], p[4], p[0], p[1], n, parameters);
  });
  return {to_grad, second};
}

Tensor shifted_cpu(const Tensor& input, double beta, std::optional<double> shift) {
  const Dtype dtype = dtype_of(input);
  Parameters parameters = parameters_of(beta);
  parameters.shift = shift.value_or(std::numeric_limits<double>::quiet_NaN());
  auto iterator = iterate({Tensor()}, {input});
  run(iterator, [&](char* const* p, int64_t n) {
    chosen().shifted(dtype, p[1], p[0], n, parameters);
  });
  return iterator.output();
}

Tensor inverse_cpu(const Tensor& input, double beta) {
  const Dtype dtype = dtype_of(input);
  const Parameters parameters = parameters_of(beta);
  auto iterator = iterate({Tensor()}, {input});
  run(iterator, [&](char* const* p, int64_t n) {
    chosen().inverse(dtype, p[1], p[0], n, parameters);
  });
  return iterator.output();
}

// ---- Meta: shapes and strides alone, for fake tensors ----

Tensor forward_meta(const Tensor& input, double, double) { return at::empty_like(input); }
Tensor backward_meta(const Tensor& grad, const Tensor& saved, double, double, bool) {
  check_alike(saved, grad);
  return at::empty_like(saved);
}
std::tuple<Tensor, Tensor> double_backward_meta(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double, double, bool, bool) {
  check_alike(saved, grad_grad, grad);
  return {at::empty_like(saved), at::empty_like(saved)};
}
Tensor shifted_meta(const Tensor& input, double, std::optional<double>) {
  return at::empty_like(input);
}
Tensor inverse_meta(const Tensor& input, double) { return at::empty_like(input); }

// ---- Autograd ----

// The operator of that name, for calls through the dispatcher.
template <typename Function>
auto find(const char* name, Function*) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

Tensor backward(
    const Tensor& grad, const Tensor& saved, double beta, double threshold, bool of_output) {
  static const auto op = find("softplus::backward", &backward_cpu);
  return op.call(grad, saved, beta, threshold, of_output);
}

std::tuple<Tensor, Tensor> double_backward(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta,
    double threshold, bool of_output, bool to_input) {
  static const auto op = find("softplus::double_backward", &double_backward_cpu);
  return op.call(grad_grad, grad, saved, beta, threshold, of_output, to_input);
}

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
      AutogradContext* context, const Tensor& grad, const Tensor& towards, const Aside& saved,
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

// Where `in_place`, writes over `input` and returns its memory as another tensor, for the history of
// `input` itself may be that of a view: saved with it, the node would hold itself for ever, and double
// backward would go on at the view's base.
struct Forward : torch::autograd::Function<Forward> {
  static Tensor forward(
      AutogradContext* context, const Tensor& input, double beta, double threshold,
      bool in_place) {
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
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta,
    double threshold, bool of_output, bool to_input) {
  const Tensor u = exponent(saved, beta), slope = slope_composed(u, threshold, of_output);
  Tensor curvature = beta * (of_output ? at::exp(-u) : slope * at::sigmoid(-u));
  if (of_output && to_input) curvature = curvature * slope;
  if (threshold < EXACT) curvature = curvature.masked_fill(u > threshold, 0);
  const auto type = saved.scalar_type();
  return {(grad_grad * slope).to(type), (grad_grad * grad * curvature).to(type)};
}

std::tuple<Tensor, Tensor> double_backward_autograd(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta,
    double threshold, bool of_output, bool to_input) {
  // Where a third derivative is wanted, or a tangent is carried.
  if (records(grad_grad, grad, saved) || has_tangent(grad_grad, grad, saved))
    return double_backward_composed(
        grad_grad, grad, saved, beta, threshold, of_output, to_input);
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

Tensor forward(const Tensor& input, double beta, double threshold) {
  static const auto op = find("softplus::forward", &forward_cpu);
  return op.call(input, beta, threshold);
}

Tensor shifted(const Tensor& input, double beta, std::optional<double> shift) {
  static const auto op = find("softplus::shifted", &shifted_cpu);
  return op.call(input, beta, shift);
}

Tensor inverse(const Tensor& input, double beta) {
  static const auto op = find("softplus::inverse", &inverse_cpu);
  return op.call(input, beta);
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

TORCH_LIBRARY(softplus, m) {
  m.set_python_module("softplus.ops.cpu");
  m.def("forward(Tensor input, float beta, float threshold) -> Tensor");
  m.def(
      "backward(Tensor grad, Tensor saved, float beta, float threshold, bool of_output) -> Tensor");
  m.def(
      "double_backward(Tensor grad_grad, Tensor grad, Tensor saved, float beta, float threshold, "
      "bool of_output, bool to_input) -> (Tensor, Tensor)");
  m.def("shifted(Tensor input, float beta, float? shift) -> Tensor");
  m.def("inverse(Tensor input, float beta) -> Tensor");
}

TORCH_LIBRARY_IMPL(softplus, CPU, m) {
  m.impl("forward", forward_cpu);
  m.impl("backward", backward_cpu);
  m.impl("double_backward", double_backward_cpu);
  m.impl("shifted", shifted_cpu);
  m.impl("inverse", inverse_cpu);
}

TORCH_LIBRARY_IMPL(softplus, Meta, m) {
  m.impl("forward", forward_meta);
  m.impl("backward", backward_meta);
  m.impl("double_backward", double_backward_meta);
  m.impl("shifted", shifted_meta);
  m.impl("inverse", inverse_meta);
}

TORCH_LIBRARY_IMPL(softplus, Autograd, m) {
  m.impl("forward", forward_autograd);
  m.impl("backward", backward_autograd);
  m.impl("double_backward", double_backward_autograd);
  m.impl("shifted", shifted_autograd);
  m.impl("inverse", inverse_autograd);
}

}  // namespace softplus
