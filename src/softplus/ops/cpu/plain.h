// What a plain tensor and a plain eager call are; any other call is for ops/dispatch.py.
#pragma once

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/jit/frontend/tracer.h>

namespace softplus {

// What a plain dense tensor of any device and a plain call carry, and not a functorch level, a
// Python or fake tensor, an active mode, functionalization, a negated view. Autocast leaves
// softplus alone on CPU, and elsewhere PyTorch's own softplus obeys it.
inline bool plain(c10::DispatchKeySet keys) {
  using c10::DispatchKey;
  static const c10::DispatchKeySet allowed =
      c10::DispatchKeySet(
          {DispatchKey::Dense, DispatchKey::AutogradFunctionality, DispatchKey::ADInplaceOrView,
           DispatchKey::BackendSelect}) |
      c10::autocast_dispatch_keyset;
  return ((keys - allowed).raw_repr() & ~c10::full_backend_mask) == 0;
}

inline bool plain(const at::Tensor& tensor) {
  return plain(tensor.key_set()) && !tensor._fw_grad(0).defined();
}

inline bool plain_call() {
  return !at::impl::torch_function_mode_enabled() && !torch::jit::tracer::isTracing() &&
         plain(c10::impl::tls_local_dispatch_key_set().included_);
}

}  // namespace softplus
