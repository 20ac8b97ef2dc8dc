// The kernels in the place of PyTorch's own: what each of its operators then runs, and the switch.
#include "patch.h"

#include <ATen/ATen.h>
#include <ATen/CPUFunctions.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <tuple>

#include "operators/operators.h"

namespace softplus {
namespace {

using at::Scalar;
using at::Tensor;

// What the kernels do not serve goes to PyTorch's own, which are reached in at::cpu whatever the
// dispatcher holds.
bool served(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return has_kernels(self.scalar_type()) && !beta.isComplex() && !threshold.isComplex() &&
         ordinary_beta(beta.toDouble()) && !std::isnan(threshold.toDouble());
}

// A gradient may come in another type, which PyTorch promotes.
bool served(const Tensor& other, const Tensor& self) {
  return has_kernels(self.scalar_type()) && other.scalar_type() == self.scalar_type();
}

Tensor patched_softplus(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  if (!served(self, beta, threshold)) return at::cpu::softplus(self, beta, threshold);
  return forward_into(Tensor(), self, beta.toDouble(), threshold.toDouble());
}

Tensor& patched_softplus_out(
    const Tensor& self, const Scalar& beta, const Scalar& threshold, Tensor& out) {
  if (!served(self, beta, threshold)) return at::cpu::softplus_outf(self, beta, threshold, out);
  forward_into(out, self, beta.toDouble(), threshold.toDouble());
  return out;
}

Tensor patched_softplus_backward(
    const Tensor& grad, const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  if (!served(grad, self) || !served(self, beta, threshold))
    return at::cpu::softplus_backward(grad, self, beta, threshold);
  return backward_into(Tensor(), grad, self, beta.toDouble(), threshold.toDouble(), false);
}

Tensor& patched_softplus_backward_out(
    const Tensor& grad, const Tensor& self, const Scalar& beta, const Scalar& threshold,
    Tensor& grad_input) {
  if (!served(grad, self) || !served(self, beta, threshold))
    return at::cpu::softplus_backward_outf(grad, self, beta, threshold, grad_input);
  backward_into(grad_input, grad, self, beta.toDouble(), threshold.toDouble(), false);
  return grad_input;
}

// The buffer is for backward passes that outlive the patch: PyTorch's own backward reads it.
std::tuple<Tensor, Tensor> patched_log_sigmoid_forward(const Tensor& self) {
  if (!has_kernels(self.scalar_type())) return at::cpu::log_sigmoid_forward(self);
  return log_sigmoid_and_buffer(self);
}

std::tuple<Tensor&, Tensor&> patched_log_sigmoid_forward_out(
    const Tensor& self, Tensor& output, Tensor& buffer) {
  if (!served(output, self) || !served(buffer, self))
    return at::cpu::log_sigmoid_forward_outf(self, output, buffer);
  const auto [y, z] = patched_log_sigmoid_forward(self);
  output.resize_as_(self).copy_(y);
  buffer.resize_as_(self, at::MemoryFormat::Contiguous).copy_(z);
  return {output, buffer};
}

Tensor patched_log_sigmoid_backward(const Tensor& grad, const Tensor& self, const Tensor& buffer) {
  if (!served(grad, self)) return at::cpu::log_sigmoid_backward(grad, self, buffer);
  return backward_into(Tensor(), grad, self, -1.0, EXACT, false);
}

Tensor& patched_log_sigmoid_backward_out(
    const Tensor& grad, const Tensor& self, const Tensor& buffer, Tensor& grad_input) {
  if (!served(grad, self))
    return at::cpu::log_sigmoid_backward_outf(grad, self, buffer, grad_input);
  backward_into(grad_input, grad, self, -1.0, EXACT, false);
  return grad_input;
}

struct NoWarnings : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

// TORCH_FN makes functors without state: a thread that calls one of these operators while its
// kernel is being replaced may meet one kernel's function with the other's functor.
torch::Library override_kernels() {
  // PyTorch warns, once in a process, whoever overrides a kernel. Here it is the purpose; and made
  // to warn always for the moment, it keeps its one warning for whom it may concern.
  NoWarnings silent;
  const c10::WarningUtils::WarningHandlerGuard unheard(&silent);
  const c10::WarningUtils::WarnAlways always;
  torch::Library m(torch::Library::IMPL, "aten", c10::DispatchKey::CPU, __FILE__, __LINE__);
  m.impl("softplus", TORCH_FN(patched_softplus));
  m.impl("softplus.out", TORCH_FN(patched_softplus_out));
  m.impl("softplus_backward", TORCH_FN(patched_softplus_backward));
  m.impl("softplus_backward.grad_input", TORCH_FN(patched_softplus_backward_out));
  m.impl("log_sigmoid_forward", TORCH_FN(patched_log_sigmoid_forward));
  m.impl("log_sigmoid_forward.output", TORCH_FN(patched_log_sigmoid_forward_out));
  m.impl("log_sigmoid_backward", TORCH_FN(patched_log_sigmoid_backward));
  m.impl("log_sigmoid_backward.grad_input", TORCH_FN(patched_log_sigmoid_backward_out));
  return m;
}

// Both are the GIL's to guard: what os.fork() copies then is no lock that another thread holds.
std::optional<torch::Library> overriding;  // its end takes the kernels out again
int64_t patches = 0;

}  // namespace

void patch() {
  if (!overriding) overriding = override_kernels();
  patches++;
}

void unpatch() {
  TORCH_CHECK(patches > 0, "no patch is in force");
  if (--patches == 0) overriding.reset();
}

}  // namespace softplus
