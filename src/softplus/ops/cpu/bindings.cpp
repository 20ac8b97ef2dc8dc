// The entry, the module of one PyTorch and one Python, in one translation unit: reading PyTorch's
// headers is most of the time that compiling takes. Its kernels are those of the library.
#include "operators/autograd.cpp"
#include "operators/autograd_each.cpp"
#include "operators/batching.cpp"
#include "operators/calls.cpp"
#include "operators/composed.cpp"
#include "operators/cpu.cpp"
#include "operators/node.cpp"
#include "patch.cpp"

#include "entry.cpp"
#include "table.h"

namespace softplus {
namespace {

const Table* table = nullptr;

}  // namespace

const Kernels& chosen() {
  TORCH_INTERNAL_ASSERT(table != nullptr);
  return table->chosen();
}

void run_on_threads(Task task, int64_t threads) { table->run_on_threads(std::move(task), threads); }

}  // namespace softplus

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  const auto library = pybind11::module_::import("softplus.ops.cpu._kernels");
  // An error where the library's table has other kernels: it was built from other sources.
  softplus::table = static_cast<const softplus::Table*>(
      PyCapsule_GetPointer(library.attr("table").ptr(), softplus::TABLE));
  if (!softplus::table) throw pybind11::error_already_set();
  softplus::real = softplus::found("numbers", "Real");
  softplus::is_exporting = softplus::found("torch.compiler", "is_exporting");
  softplus::has_torch_function = softplus::found("torch._C", "_has_torch_function_unary");
  static PyMethodDef methods[] = {
      softplus::fast_call("softplus", softplus::softplus),
      softplus::fast_call("shifted_softplus", softplus::shifted_softplus),
      softplus::fast_call("inverse_softplus", softplus::inverse_softplus),
      {nullptr, nullptr, 0, nullptr}};
  PyModule_AddFunctions(m.ptr(), methods);
  m.def("serve_gpu", softplus::serve_gpu);
  m.def("patch", softplus::patch);
  m.def("unpatch", softplus::unpatch);
}
