// The library: the kernels for Python, called by number on memory given as addresses. It uses
// Python's limited API and no header of PyTorch, so that one build serves every Python from 3.11 on
// and every PyTorch.
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <cstring>
#include <iterator>
#include <limits>
#include <new>
#include <stdexcept>

#include "instruction_set.h"
#include "table.h"
#include "task.h"

namespace softplus {
namespace {

// Each output and input is of the dtype, x, or of that of beta, b.
struct Named {
  const char* name;
  Kernel Kernels::* kernel;
  const char* outputs;
  const char* inputs;
};

constexpr Named KERNELS[] = {
#define KERNEL(name, outputs, inputs) {#name, &Kernels::name, #outputs, #inputs},
#include "kernels.def"
#undef KERNEL
};

constexpr int64_t SIZES[] = {4, 8, 2, 2};  // bytes of an element, in the order of Dtype

// Up to this many elements a call takes no longer than other steps of Python do, and keeps the GIL.
constexpr int64_t SMALL = 4096;

enum Flags { TO_INPUT = 1, SHIFTED = 2, AROUND_CACHE = 4, SUMMED = 8, SINGLE = 16 };

// The arguments of run() up to the addresses.
enum { KERNEL, DTYPE, N, BETA, THRESHOLD, SHIFT, FLAGS, INNER, COUNT, THREADS, ADDRESSES };

const char RUN[] =
    "run(kernel, dtype, n, beta, threshold, shift, flags, inner, count, threads, *addresses)\n\n"
    "Run a kernel, an index into KERNELS, over n elements of a dtype (0 to 3: float32, float64,\n"
    "bfloat16, float16) in contiguous memory, on up to so many of PyTorch's threads. Addresses\n"
    "are those of the outputs, then of the inputs; the caller keeps the memory until the return,\n"
    "for more than 4,096 elements are computed without the GIL. A shift of None is ln2/beta.\n"
    "Flags are 1: of a double backward towards the input, 2: shifted, 4: around the cache, 8: the\n"
    "last output has `count` float64, the sums over the elements of each beta, 16: all else that\n"
    "belongs to beta is float32, not float64. Of a kernel with a beta for each element the last\n"
    "address is that of `count` betas, and element i reads the one at i // inner % count;\n"
    "elsewhere inner and count are not read.";

PyObject* run(PyObject*, PyObject* const* arguments, Py_ssize_t given) {
  if (given < ADDRESSES) return PyErr_Format(PyExc_TypeError, "run: got %zd arguments", given);
  const auto integer = [&](int place) { return PyLong_AsLongLong(arguments[place]); };
  const long long kernel = integer(KERNEL), dtype = integer(DTYPE), flags = integer(FLAGS);
  Task task = {};
  task.n = integer(N);
  task.betas = {nullptr, integer(INNER), integer(COUNT)};
  const long long threads = integer(THREADS);
  Parameters& p = task.parameters;
  p.beta = PyFloat_AsDouble(arguments[BETA]);
  p.threshold = PyFloat_AsDouble(arguments[THRESHOLD]);
  p.shift = arguments[SHIFT] == Py_None ? std::numeric_limits<double>::quiet_NaN()
                                        : PyFloat_AsDouble(arguments[SHIFT]);
  p.around_cache = flags & AROUND_CACHE;
  p.to_input = flags & TO_INPUT;
  p.shifted = flags & SHIFTED;
  p.single = flags & SINGLE;
  if (PyErr_Occurred()) return nullptr;
  if (kernel < 0 || kernel >= std::ssize(KERNELS) || dtype < 0 || dtype >= std::ssize(SIZES))
    return PyErr_Format(PyExc_ValueError, "run: no kernel %lld, or no dtype %lld", kernel, dtype);
  if (p.single && Dtype(dtype) == Dtype::float64)
    return PyErr_Format(PyExc_ValueError, "run: of float64 the betas are float64 too");
  const Named& named = KERNELS[kernel];
  task.kernel = chosen().*named.kernel;
  task.dtype = Dtype(dtype);
  task.outputs = int64_t(std::strlen(named.outputs));
  task.tensors = task.outputs + int64_t(std::strlen(named.inputs));
  if (given != ADDRESSES + task.tensors)
    return PyErr_Format(
        PyExc_TypeError, "run: %s takes %lld addresses, got %zd", named.name,
        static_cast<long long>(task.tensors), given - ADDRESSES);
  for (int64_t t = 0; t < task.tensors; t++) {
    const bool is_output = t < task.outputs;
    const char type = is_output ? named.outputs[t] : named.inputs[t - task.outputs];
    task.sizes[t] = type == 'x' ? SIZES[dtype] : p.single ? 4 : 8;
    task.data[t] = static_cast<char*>(PyLong_AsVoidPtr(arguments[ADDRESSES + t]));
    if (t == task.tensors - 1 && type == 'b') task.betas.betas = task.data[t];
  }
  if (PyErr_Occurred()) return nullptr;
  if (task.betas.betas && (task.betas.inner < 1 || task.betas.count < 1))
    return PyErr_Format(PyExc_ValueError, "run: inner and count must be positive");
  task.summed = flags & SUMMED;
  if (task.summed && !(task.betas.betas && named.outputs[task.outputs - 1] == 'b'))
    return PyErr_Format(PyExc_ValueError, "run: %s gives nothing to sum for a beta", named.name);
  PyThreadState* const released = task.n > SMALL ? PyEval_SaveThread() : nullptr;
  bool enough_memory = true;
  try {
    run_on_threads(task, threads);
  } catch (const std::bad_alloc&) {
    enough_memory = false;
  }
  if (released) PyEval_RestoreThread(released);
  if (!enough_memory) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

PyObject* chosen_name(PyObject*, PyObject*) { return PyUnicode_FromString(chosen().name); }

PyObject* available_names(PyObject*, PyObject*) {
  PyObject* const names = PyList_New(0);
  for (const std::string& name : available()) {
    PyObject* const item = PyUnicode_FromString(name.c_str());
    PyList_Append(names, item);
    Py_DecRef(item);
  }
  return names;
}

PyObject* use_named(PyObject*, PyObject* name) {
  const char* const text = PyUnicode_AsUTF8AndSize(name, nullptr);
  if (!text) return nullptr;
  try {
    use(text);
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
    return nullptr;
  }
  Py_RETURN_NONE;
}

PyMethodDef METHODS[] = {
    {"run", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(run)), METH_FASTCALL, RUN},
    {"chosen", chosen_name, METH_NOARGS, "Return the name of the instruction set in use."},
    {"available", available_names, METH_NOARGS,
     "Return the names of those that this CPU can run, the plainest first."},
    {"use", use_named, METH_O, "Put one of the available ones into use."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    "_kernels",
    "The CPU kernels.",
    -1,
    METHODS,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

}  // namespace
}  // namespace softplus

PyMODINIT_FUNC PyInit__kernels() {
  using namespace softplus;
  PyObject* const module = PyModule_Create(&MODULE);
  PyObject* const names = PyTuple_New(std::ssize(KERNELS));
  for (Py_ssize_t i = 0; i < std::ssize(KERNELS); i++)
    PyTuple_SetItem(names, i, PyUnicode_FromString(KERNELS[i].name));
  PyModule_AddObject(module, "KERNELS", names);
  static Table table = {chosen, run_on_threads};
  PyModule_AddObject(module, "table", PyCapsule_New(&table, TABLE, nullptr));
  return module;
}
