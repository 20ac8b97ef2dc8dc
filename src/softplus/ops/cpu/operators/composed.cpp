// Derivatives in ATen's operators. The saved tensor comes first in every product: results then have
// its layout, as those of the kernels.
#include "composed.h"

#include <ATen/ATen.h>

#include "graph.h"

namespace softplus::composed {
namespace {

using at::Tensor;
using torch::autograd::variable_list;

// In the type in which the formulas run.
Tensor computing(const Tensor& tensor) {
  const auto type = tensor.scalar_type();
  return tensor.to(at::isReducedFloatingType(type) ? at::kFloat : type);
}

// Of a number beta, by the value saved: the slope s = sigmoid(beta*x); the curvature, which is what
// double backward multiplies both gradients by; and their derivatives by that value.
struct One {
  Tensor u, slope, curvature;
  double beta, threshold;
  bool of_output, to_input;

  One(const Tensor& saved, double b, double t, bool output, bool input)
      : u(computing(saved) * b), beta(b), threshold(t), of_output(output), to_input(input) {
    slope = of_output ? -at::expm1(-u) : at::sigmoid(u);
    curvature = slope_of_slope();
    if (of_output && to_input) curvature = curvature * slope;
    if (threshold < EXACT) slope = slope.masked_fill(u > threshold, 1);
  }

  Tensor slope_of_slope() const {
    return masked(beta * (of_output ? at::exp(-u) : at::sigmoid(u) * at::sigmoid(-u)));
  }
  Tensor slope_of_curvature() const {
    if (!of_output) return -beta * curvature * at::tanh(u / 2);
    const Tensor e = at::exp(-u);
    return beta * beta * e * (to_input ? 2 * e - 1 : at::full_like(e, -1));
  }
  Tensor masked(const Tensor& derivative) const {
    return threshold < EXACT ? derivative.masked_fill(u > threshold, 0) : derivative;
  }
};

constexpr double LN2 = 0.693147180559945309417;

// Of one element: u = beta*x, s = sigmoid(u), s' = s(1 - s), h = dy/dbeta, dh = dh/dbeta.
struct Each {
  Tensor x, beta, s, s1, h, dh;

  Each(const Tensor& input, const Tensor& b, double threshold, bool shifted) : beta(b) {
    const Tensor wide = input.to(at::kDouble), product = wide * b;
    // Beyond, e^-|u| is 0 and so is every derivative but the slope: inf * 0 is not computed.
    const Tensor far = product.abs().gt(800),
                 over = product.gt(threshold < EXACT ? threshold : 800);
    x = wide.masked_fill(far, 0);
    const Tensor u = x * b;
    // Each branch is the exact function, so at 0 every derivative is right.
    const Tensor n = at::where(u < 0, u, -u), t = at::exp(n);
    const Tensor bracket = at::log1p(t) - n * t / (1 + t);
    s = at::sigmoid(u);
    s1 = s * at::sigmoid(-u);
    h = -bracket / (b * b);
    dh = 2 * bracket / (b * b * b) + x * x * s1 / b;
    const Tensor none = far.logical_or(over);
    s = s.masked_fill(far, 0).masked_fill(over, 1);
    s1 = s1.masked_fill(none, 0);
    h = h.masked_fill(none, 0);
    dh = dh.masked_fill(none, 0);
    if (!shifted) return;
    h = h + LN2 / (b * b);
    dh = dh - 2 * LN2 / (b * b * b);
  }
};

}  // namespace

std::tuple<Tensor, Tensor> double_backward(
    const Tensor& grad_grad, const Tensor& grad, const Tensor& saved, double beta, double threshold,
    bool of_output, bool to_input) {
  const One one(saved, beta, threshold, of_output, to_input);
  const Tensor gg = computing(grad_grad), g = computing(grad);
  const auto type = saved.scalar_type();
  return {(one.slope * gg).to(type), (one.curvature * gg * g).to(type)};
}

variable_list third(
    const Tensor& to_grad, const Tensor& to_saved, const Tensor& grad_grad, const Tensor& grad,
    const Tensor& saved, double beta, double threshold, bool of_output, bool to_input) {
  const One one(saved, beta, threshold, of_output, to_input);
  const Tensor gg = computing(grad_grad), g = computing(grad);
  const auto type = saved.scalar_type();
  Tensor to_gg, to_g, to_value;
  if (to_grad.defined()) {
    const Tensor a = computing(to_grad);
    to_gg = one.slope * a;
    to_value = one.slope_of_slope() * a * gg;
  }
  if (to_saved.defined()) {
    const Tensor b = computing(to_saved), product = one.curvature * b;
    to_gg = sum(to_gg, product * g);
    to_g = (product * gg).to(type);
    to_value = sum(to_value, one.slope_of_curvature() * b * gg * g);
  }
  return {to_gg.to(type), to_g, to_value.to(type)};
}

// dx/dy = 1/sigmoid(beta*x), where sigmoid(beta*x) = 1 - e^-v with v = beta*y. Each branch keeps
// its digits in derivatives too: that of expm1(-v), which ATen computes as its result + 1, has none
// left for a large v.
Tensor inverse_backward(const Tensor& grad, const Tensor& input, double beta) {
  const Tensor v = computing(input) * beta, large = v > 1;
  const Tensor of_large = (1 - at::exp(-v.masked_fill(large.logical_not(), 1))).reciprocal();
  const Tensor of_small = 1 + at::expm1(v.masked_fill(large, 1)).reciprocal();
  return (at::where(large, of_large, of_small) * computing(grad)).to(input.scalar_type());
}

std::tuple<Tensor, Tensor> backward_each(
    const Tensor& grad, const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  const Each each(input, beta, threshold, shifted);
  const Tensor g = grad.to(at::kDouble);
  return {(each.s * g).to(input.scalar_type()), (each.h * g).to(beta.scalar_type())};
}

std::tuple<Tensor, Tensor, Tensor> double_backward_each(
    const Tensor& grad_to_input, const Tensor& grad_to_beta, const Tensor& grad,
    const Tensor& input, const Tensor& beta, double threshold, bool shifted) {
  const Each each(input, beta, threshold, shifted);
  const Tensor ggx = grad_to_input.to(at::kDouble), g = grad.to(at::kDouble);
  const Tensor mixed = each.x * each.s1;  // ds/dbeta, and dh/dx
  const auto type = input.scalar_type();
  return {
      (each.s * ggx + each.h * grad_to_beta).to(type),
      ((each.s1 * each.beta * ggx + mixed * grad_to_beta) * g).to(type),
      ((mixed * ggx + each.dh * grad_to_beta) * g).to(beta.scalar_type())};
}

}  // namespace softplus::composed
