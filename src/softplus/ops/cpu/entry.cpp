// The entry from Python: decides whether a call is a plain eager one, which the kernels serve.
#include <ATen/Functions.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <cmath>
#include <limits>

#include "instruction_set.h"
#include "operators/operators.h"
#include "patch.h"
#include "plain.h"

namespace softplus {
namespace {

using at::Tensor;

// The tensor if it is a torch.Tensor or torch.nn.Parameter itself, dense, of a dtype with kernels.
const Tensor* plain_tensor(PyObject* object) {
  if (!THPVariable_CheckExact(object)) return nullptr;
  const Tensor& tensor = THPVariable_Unpack(object);
  return has_kernels(tensor.scalar_type()) && plain(tensor) ? &tensor : nullptr;
}

PyObject* real = nullptr;  // numbers.Real

// A real number as a double, NaN for what is none: the Python side then says what is wrong with it.
double number(PyObject* object) {
  if (PyFloat_Check(object)) return PyFloat_AS_DOUBLE(object);  // numpy.float64 too
  double value = std::numeric_limits<double>::quiet_NaN();
  if (PyLong_Check(object)) value = PyLong_AsDouble(object);
  else if (!THPVariable_CheckExact(object) && PyObject_IsInstance(object, real) == 1)
    value = PyFloat_AsDouble(object);
  if (!PyErr_Occurred()) return value;
  PyErr_Clear();  // no double is that large
  return std::numeric_limits<double>::quiet_NaN();
}

// Up to this many elements of a CPU tensor, a call takes no longer than other steps of Python do.
constexpr int64_t SMALL = 4096;

// The Python object of compute(input). Other Python threads need not await it, and one of them may
// give the object that held `input` another tensor (torch.utils.swap_tensors): this one is kept
// until then. A small call holds the GIL instead, which saves a tenth of the 0.8 microseconds that
// one on 64 elements takes; not one that autograd records, for saved-tensor hooks run any Python.
template <typename Compute>
PyObject* returned(const Tensor& input, const Compute& compute) {
  if (input.is_cpu() && input.numel() <= SMALL && !input.requires_grad())
    return THPVariable_Wrap(compute(input));
  const Tensor kept = input;
  Tensor result;
  {
    pybind11::gil_scoped_release released;
    result = compute(kept);
  }
  return THPVariable_Wrap(std::move(result));
}

// The functions below return None where the call is not theirs. They read the numbers first, which
// may run any Python, and only then the tensors.

// softplus(input, beta, threshold, inplace, out)
PyObject* softplus(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK_TYPE(count == 5, "softplus takes 5 arguments, got ", count);
  const double beta = number(arguments[1]);
  const double threshold = arguments[2] == Py_None ? EXACT : number(arguments[2]);
  const Tensor* input = plain_tensor(arguments[0]);
  const bool in_place = arguments[3] == Py_True, has_out = arguments[4] != Py_None;
  if (!input || !ordinary_beta(beta) || std::isnan(threshold) || !PyBool_Check(arguments[3]) ||
      !plain_call())
    Py_RETURN_NONE;
  const bool records = at::GradMode::is_enabled() && input->requires_grad();
  if (!in_place && !has_out) {
    // Elsewhere than on the CPU PyTorch's own: never slower, never keeping more.
    return returned(*input, [&](const Tensor& x) {
      return x.is_cpu() ? forward(x, beta, threshold) : at::softplus(x, beta, threshold);
    });
  }
  if (!input->is_cpu() || (in_place && has_out)) Py_RETURN_NONE;
  if (in_place) {
    // Where backward needs the input that is overwritten, the definition keeps what it needs.
    if (records && !output_determines_gradient(input->scalar_type(), threshold)) Py_RETURN_NONE;
    return returned(*input, [&](const Tensor& x) { return forward_in_place(x, beta, threshold); });
  }
  const Tensor* output = plain_tensor(arguments[4]);
  if (records || !output || output->requires_grad() || !output->is_cpu() ||
      output->scalar_type() != input->scalar_type())
    Py_RETURN_NONE;
  return returned(*input, [&, kept = *output](const Tensor& x) {
    return forward_out(kept, x, beta, threshold);
  });
  END_HANDLE_TH_ERRORS
}

// shifted_softplus(input, beta, shift)
PyObject* shifted_softplus(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK_TYPE(count == 3, "shifted_softplus takes 3 arguments, got ", count);
  const double beta = number(arguments[1]);
  std::optional<double> shift;
  if (arguments[2] != Py_None) shift = number(arguments[2]);
  const Tensor* input = plain_tensor(arguments[0]);
  if (!input || !input->is_cpu() || !ordinary_beta(beta) || !std::isfinite(shift.value_or(0)) ||
      !plain_call())
    Py_RETURN_NONE;
  return returned(*input, [&](const Tensor& x) { return shifted(x, beta, shift); });
  END_HANDLE_TH_ERRORS
}

// inverse_softplus(input, beta), whose derivatives are the definition's
PyObject* inverse_softplus(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK_TYPE(count == 2, "inverse_softplus takes 2 arguments, got ", count);
  const double beta = number(arguments[1]);
  const Tensor* input = plain_tensor(arguments[0]);
  if (!input || !input->is_cpu() || !ordinary_beta(beta) || !plain_call() ||
      (at::GradMode::is_enabled() && input->requires_grad()))
    Py_RETURN_NONE;
  return returned(*input, [&](const Tensor& x) { return inverse(x, beta); });
  END_HANDLE_TH_ERRORS
}

PyMethodDef fast_call(const char* name, _PyCFunctionFast function) {
  return {
      name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)), METH_FASTCALL,
      nullptr};
}

}  // namespace
}  // namespace softplus
