// Which tensors and calls the operators serve, and of which the kernels may use the memory
// directly; any other is for ops/dispatch.py.
#pragma once

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/jit/frontend/tracer.h>

namespace softplus {

// Whether keys are all of some, whatever the device.
inline bool within(c10::DispatchKeySet keys, c10::DispatchKeySet some) {
  return ((keys - some).raw_repr() & ~c10::full_backend_mask) == 0;
}

// What a plain dense tensor and a plain call carry. Autocast leaves softplus alone on CPU, and
// elsewhere PyTorch's own softplus obeys it.
inline const c10::DispatchKeySet PLAIN =
    c10::DispatchKeySet(
        {c10::DispatchKey::Dense, c10::DispatchKey::AutogradFunctionality,
         c10::DispatchKey::ADInplaceOrView, c10::DispatchKey::BackendSelect}) |
    c10::autocast_dispatch_keyset;

// Beyond that, what the dispatcher knows to handle before a kernel: functorch's levels, views that
// negate, zeros without memory, functionalization. A Python key is a subclass's own business.
inline const c10::DispatchKeySet SERVED =
    PLAIN | c10::DispatchKeySet(
                {c10::DispatchKey::FuncTorchBatched, c10::DispatchKey::FuncTorchGradWrapper,
                 c10::DispatchKey::Negative, c10::DispatchKey::ZeroTensor,
                 c10::DispatchKey::Functionalize});

inline bool for_operators(const at::Tensor& tensor) { return within(tensor.key_set(), SERVED); }

inline bool plain(const at::Tensor& tensor) {
  return within(tensor.key_set(), PLAIN) && !tensor._fw_grad(0).defined();
}

// Whether nothing but autograd and the kernels meets a call.
inline bool plain_call() {
  return within(c10::impl::tls_local_dispatch_key_set().included_, PLAIN);
}

// Whether a mode of torch functions or torch.jit.trace wants to see the call as a whole.
inline bool intercepted() {
  return at::impl::torch_function_mode_enabled() || torch::jit::tracer::isTracing();
}

// Whether a level of torch.func is at work.
inline bool in_functorch() {
  return c10::impl::tls_local_dispatch_key_set().included_.has(
      c10::DispatchKey::FuncTorchDynamicLayerFrontMode);
}

inline bool in_dispatch_mode() {
  return c10::impl::tls_local_dispatch_key_set().included_.has(c10::DispatchKey::Python);
}

}  // namespace softplus
