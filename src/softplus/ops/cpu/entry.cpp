// The entry from Python: sends every call that an operator serves to it, and returns None for
// others.
#include <ATen/ExpandUtils.h>
#include <ATen/Functions.h>
#include <ATen/MemoryOverlap.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <cmath>
#include <limits>

#include "operators/operators.h"
#include "patch.h"
#include "plain.h"

namespace softplus {
namespace {

using at::Tensor;

// Kept for ever: these live as long as the interpreter.
PyObject* real = nullptr;                // numbers.Real
PyObject* is_exporting = nullptr;        // torch.compiler.is_exporting
PyObject* has_torch_function = nullptr;  // torch._C._has_torch_function_unary

// What serves calls on a GPU of at least so many bytes, as softplus below does; null for nothing.
PyObject* on_gpu = nullptr;
int64_t on_gpu_from = 0;

void serve_gpu(const pybind11::object& function, int64_t from) {
  on_gpu = pybind11::object(function).release().ptr();
  on_gpu_from = from;
}

// Whether an object has a torch function that is not off.
bool overrides(PyObject* object) {
  return pybind11::bool_(pybind11::handle(has_torch_function)(pybind11::handle(object)));
}

// The tensor, of a dtype with kernels, if the operators serve it. A subclass counts where its torch
// function is off: there it has asked for what a torch.Tensor gives.
const Tensor* served_tensor(PyObject* object) {
  if (!THPVariable_CheckExact(object) && (!THPVariable_Check(object) || overrides(object)))
    return nullptr;
  const Tensor& tensor = THPVariable_Unpack(object);
  return has_kernels(tensor.scalar_type()) && for_operators(tensor) ? &tensor : nullptr;
}

// Whether the call is one for the operators. What torch.export traces needs PyTorch's own.
bool served_call() {
  return !intercepted() &&
         !(in_dispatch_mode() && pybind11::bool_(pybind11::handle(is_exporting)()));
}

// A real number as a double, NaN for what is none: the Python side then says what is wrong with it.
double number(PyObject* object) {
  if (PyFloat_Check(object)) return PyFloat_AS_DOUBLE(object);  // numpy.float64 too
  double value = std::numeric_limits<double>::quiet_NaN();
  if (PyLong_Check(object)) value = PyLong_AsDouble(object);
  else if (!THPVariable_Check(object) && PyObject_IsInstance(object, real) == 1)
    value = PyFloat_AsDouble(object);
  if (!PyErr_Occurred()) return value;
  PyErr_Clear();  // no double is that large
  return std::numeric_limits<double>::quiet_NaN();
}

// A beta that is a number, or the one integer in a tensor, which PyTorch's softplus takes for one.
double number_of_beta(PyObject* object) {
  if (!THPVariable_CheckExact(object)) return number(object);
  const Tensor tensor = THPVariable_Unpack(object);
  if (tensor.dim() != 0 || !at::isIntegralType(tensor.scalar_type(), /*includeBool=*/true) ||
      !plain(tensor) || !plain_call() || intercepted())
    return std::numeric_limits<double>::quiet_NaN();
  return tensor.item().toDouble();
}

// Up to this many elements of a CPU tensor, a call takes no longer than other steps of Python do.
constexpr int64_t SMALL = 4096;

// The Python object of compute(input). Other Python threads need not await it, and one of them may
// give the object that held `input` another tensor (torch.utils.swap_tensors): this one is kept
// until then. A small call holds the GIL instead, which saves a tenth of the 0.8 microseconds that
// one on 64 elements takes; not one during which any Python may run: a saved-tensor hook, a mode.
// Where a beta may bring such hooks, compute keeps the input itself.
template <typename Compute>
PyObject* returned(const Tensor& input, const Compute& compute) {
  if (input.is_cpu() && input.numel() <= SMALL && !input.requires_grad() && plain_call())
    return THPVariable_Wrap(compute(input));
  const Tensor kept = input;
  Tensor result;
  {
    pybind11::gil_scoped_release released;
    result = compute(kept);
  }
  return THPVariable_Wrap(std::move(result));
}

// A beta or shift, a floating-point tensor, if the operators serve it beside the input. What does
// not broadcast is for the Python side, which says so.
const Tensor* beside(PyObject* object, const Tensor& input) {
  const Tensor* tensor = served_tensor(object);
  if (!tensor || !tensor->is_cpu() || !input.is_cpu()) return nullptr;
  const auto a = input.sym_sizes(), b = tensor->sym_sizes();
  for (size_t d = 1; d <= std::min(a.size(), b.size()); d++) {
    const auto &x = a[a.size() - d], &y = b[b.size() - d];
    if (x != y && x != 1 && y != 1) return nullptr;
  }
  return tensor;
}

// The functions below return None where the call is not theirs. They first do what may run any
// Python, and only then look at the tensors.

// softplus(input, beta, threshold, inplace, out) of a tensor beta
PyObject* softplus_of_tensor(PyObject* const* arguments, const Tensor& input, double threshold) {
  const Tensor* beta = beside(arguments[1], input);
  if (!beta) Py_RETURN_NONE;
  const bool in_place = arguments[3] == Py_True, has_out = arguments[4] != Py_None;
  if (!in_place && !has_out)
    return returned(input, [&, input = input, beta = *beta](const Tensor&) {
      return forward_broadcast(input, beta, threshold, /*shifted=*/false);
    });
  if (in_place && has_out) Py_RETURN_NONE;
  const Tensor* output = in_place ? &input : served_tensor(arguments[4]);
  if (!output || output->sym_sizes() != at::infer_size_symint(input.sym_sizes(), beta->sym_sizes()))
    Py_RETURN_NONE;
  const bool fits = plain_call() && plain(input) && plain(*beta) && plain(*output) &&
                    output->is_cpu() && output->scalar_type() == input.scalar_type() &&
                    !records(input, *beta, *output);
  if (!fits && !in_place) Py_RETURN_NONE;
  // Memory that shares none with what the kernel still reads.
  const auto apart = [&](const Tensor& read) {
    return at::get_overlap_status(*output, read) == at::MemOverlapStatus::No;
  };
  const bool direct = fits && apart(*beta) && (in_place || apart(input));
  return returned(input, [&, beta = *beta, output = *output](const Tensor& given) {
    if (!direct)
      return output.copy_(forward_broadcast(given.clone(), beta, threshold, /*shifted=*/false));
    const auto [x, b] = for_each(given, beta);
    return forward_each_out(output, x, b, threshold);
  });
}

// softplus(input, beta, threshold, inplace, out)
PyObject* softplus(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK_TYPE(count == 5, "softplus takes 5 arguments, got ", count);
  const double beta = number_of_beta(arguments[1]);
  const double threshold = arguments[2] == Py_None ? EXACT : number(arguments[2]);
  if (std::isnan(threshold) || !PyBool_Check(arguments[3]) || !served_call()) Py_RETURN_NONE;
  const Tensor* input = served_tensor(arguments[0]);
  if (!input) Py_RETURN_NONE;
  if (std::isnan(beta)) return softplus_of_tensor(arguments, *input, threshold);
  if (!ordinary_beta(beta)) Py_RETURN_NONE;
  const bool in_place = arguments[3] == Py_True, has_out = arguments[4] != Py_None;
  // Elsewhere than on the CPU PyTorch's own: never slower, never keeping more. Where beta*x is
  // above 50, x and softplus(x) are the same number in every dtype, and e^50 overflows in none of
  // those that it computes in: with this threshold it is exact.
  const bool cpu = input->is_cpu();
  // Of a call on a GPU that is large enough to launch kernels from Python, that side minds.
  if (!cpu && on_gpu && input->sym_nbytes().maybe_as_int().value_or(0) >= on_gpu_from)
    return PyObject_Vectorcall(on_gpu, arguments, 5, nullptr);
  // PyTorch's second derivative leaves float16: standard.py has another.
  if (!cpu && input->scalar_type() == at::kHalf && records(*input)) Py_RETURN_NONE;
  const double or_exact = threshold < EXACT ? threshold : 50.0;
  const auto result = [&](const Tensor& x) {
    return cpu ? forward(x, beta, threshold) : at::softplus(x, beta, or_exact);
  };
  const auto into = [&](Tensor output, const Tensor& x) {
    return cpu ? forward_out(output, x, beta, threshold)
               : at::softplus_out(output, x, beta, or_exact);
  };
  if (!in_place && !has_out) return returned(*input, result);
  if (in_place && has_out) Py_RETURN_NONE;
  const bool direct = plain_call() && plain(*input);
  if (in_place) {
    if (direct && !records(*input))
      return returned(*input, [&](const Tensor& x) { return into(x, x); });
    if (direct && cpu && output_determines_gradient(input->scalar_type(), threshold))
      return returned(
          *input, [&](const Tensor& x) { return forward_in_place(x, beta, threshold); });
    return returned(*input, [&](const Tensor& x) { return x.copy_(result(x.clone())); });
  }
  const Tensor* output = served_tensor(arguments[4]);
  if (!direct || !output || !plain(*output) || records(*input, *output) ||
      output->device() != input->device() || output->scalar_type() != input->scalar_type())
    Py_RETURN_NONE;
  return returned(*input, [&, kept = *output](const Tensor& x) { return into(kept, x); });
  END_HANDLE_TH_ERRORS
}

// shifted_softplus(input, beta, shift)
PyObject* shifted_softplus(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK_TYPE(count == 3, "shifted_softplus takes 3 arguments, got ", count);
  const double beta = number_of_beta(arguments[1]);
  const bool has_shift = arguments[2] != Py_None;
  const double shift = has_shift ? number(arguments[2]) : 0.0;
  if (std::isinf(shift) || !served_call()) Py_RETURN_NONE;
  const Tensor* input = served_tensor(arguments[0]);
  if (!input || !input->is_cpu()) Py_RETURN_NONE;
  // Of beta and shift those that are tensors; the others are numbers.
  const Tensor* betas = std::isnan(beta) ? beside(arguments[1], *input) : nullptr;
  const Tensor* shifts = std::isnan(shift) ? beside(arguments[2], *input) : nullptr;
  if ((!betas && !ordinary_beta(beta)) || (!shifts && std::isnan(shift))) Py_RETURN_NONE;
  if (!betas && !shifts) {
    const auto given = has_shift ? std::optional<double>(shift) : std::nullopt;
    return returned(*input, [&](const Tensor& x) { return shifted(x, beta, given); });
  }
  const Tensor b = betas ? *betas : Tensor(), s = shifts ? *shifts : Tensor();
  return returned(*input, [&, input = *input](const Tensor&) {
    if (!has_shift) return forward_broadcast(input, b, EXACT, /*shifted=*/true);
    // Half types are rounded once, after the difference.
    const auto type = input.scalar_type();
    const Tensor x = at::isReducedFloatingType(type) ? input.to(at::kFloat) : input;
    const Tensor y =
        betas ? forward_broadcast(x, b, EXACT, /*shifted=*/false) : forward(x, beta, EXACT);
    if (!shifts) return (y - shift).to(type);
    // As they are, a float64 number less float32 numbers would be float32.
    return (y - s.to(at::promoteTypes(y.scalar_type(), s.scalar_type()))).to(type);
  });
  END_HANDLE_TH_ERRORS
}

// inverse_softplus(input, beta)
PyObject* inverse_softplus(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK_TYPE(count == 2, "inverse_softplus takes 2 arguments, got ", count);
  const double beta = number_of_beta(arguments[1]);
  if (!ordinary_beta(beta) || !served_call()) Py_RETURN_NONE;
  const Tensor* input = served_tensor(arguments[0]);
  if (!input || !input->is_cpu()) Py_RETURN_NONE;
  return returned(*input, [&](const Tensor& x) { return inverse(x, beta); });
  END_HANDLE_TH_ERRORS
}

PyObject* found(const char* module, const char* name) {
  return pybind11::object(pybind11::module_::import(module).attr(name)).release().ptr();
}

PyMethodDef fast_call(const char* name, _PyCFunctionFast function) {
  return {
      name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)), METH_FASTCALL,
      nullptr};
}

}  // namespace
}  // namespace softplus
