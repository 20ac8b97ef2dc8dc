r"""The maths in plain torch: Softplus, its inverse and its shifted form.

Softplus is :math:`y = \ln(1 + e^{\beta x}) / \beta`. Written with :math:`u = \beta x` and
:math:`t = e^{-|u|} \in (0, 1]` it becomes :math:`y = \max(x, 0) + \ln(1 + t) / \beta` (for
positive beta), where nothing overflows. Log-sigmoid is Softplus with beta = -1.

Autograd differentiates these lines, to any order, so they are chosen for their derivatives too:

- ``clamp_min(x, 0)`` and ``abs(x)`` have the derivatives 1 and 0 at 0, which sum to 1 there;
  ``maximum`` repairs that and still leaves a second derivative of 0. ``where`` takes one of two
  branches, each the exact function on its side of 0, so every derivative at 0 is right: 0.5,
  beta/4, 0.
- ``logaddexp`` has a NaN second derivative where ``exp(-u)`` overflows, and ``1 - sigmoid(u)``
  loses every digit at u = 17. Here every derivative is a polynomial in t/(1 + t), and t carries
  full relative accuracy until it underflows.
- No branch computes an inf or NaN that ``where`` would have to hide: its zero gradient times inf
  would be NaN.

Half types compute in float32 and round once. Inputs are taken as valid: ``softplus.arguments``
checks them.
"""

import math

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

_LN2 = math.log(2)
# ln 2 in three parts, the first exact in float32, the first two together exact in float64, so that
# v - ln 2 keeps its digits next to ln 2 in either.
_LN2_HIGH = 0.693147182464599609375
_LN2_MIDDLE = _LN2 - _LN2_HIGH
_LN2_LOW = 2.319046813846299558e-17
# ln(sinh(w) / w) in powers of w²: up to |w| = 0.2 it leaves out less than 3e-18.
_LOG_SINHC = (1 / 6, -1 / 180, 1 / 2835, -1 / 37800, 1 / 467775, -691 / 3831077250)
# From here on the exact function and PyTorch's reversion to x agree to float32 accuracy: PyTorch
# reverts at 20 only to avoid an overflow that does not exist here.
EXACT_THRESHOLD = 20.0


def computing(input: Tensor, beta: float | Tensor) -> tuple[Tensor, float | Tensor]:
    """Return input and beta in the type in which the formulas run."""
    dtype = torch.float32 if input.dtype in (torch.float16, torch.bfloat16) else input.dtype
    b = as_dtype(beta, dtype) if isinstance(beta, Tensor) else float(beta)
    return as_dtype(input, dtype), b


def as_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the tensor in a dtype; `to` takes a microsecond where it has that already."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def scaled(x: Tensor, beta: float | Tensor) -> Tensor:
    """Return beta·x. Where beta may want a gradient an infinite x counts as a very large one.

    Infinity times a gradient of 0 would be NaN, as would the largest number times a gradient
    times 0.
    """
    if isinstance(beta, Tensor):
        large = torch.finfo(x.dtype).max ** 0.5
        if is_dynamo_compiling():  # Inductor takes nan_to_num apart, and each vector into numbers
            x = torch.where(x == math.inf, large, torch.where(x == -math.inf, -large, x))
        else:
            x = torch.nan_to_num(x, nan=math.nan, posinf=large, neginf=-large)
    return x * beta


def _softplus(x: Tensor, beta: float | Tensor) -> Tensor:
    u = scaled(x, beta)
    negative = u < 0
    exponent = torch.where(negative, u, -u)
    # e^-800 is 0 in every dtype. Beyond, the exponent is cut off: its gradient is then masked and
    # not merely multiplied by 0: in double backward through a tensor beta the other factor may
    # overflow. `where` and not `clamp`, whose derivatives at NaN are 0.
    t = torch.exp(torch.where(exponent < -800, -800.0, exponent))
    return torch.where(negative, 0.0, x) + torch.log1p(t) / beta


def softplus(input: Tensor, beta: float | Tensor = 1.0, threshold: float | None = None) -> Tensor:
    """Return ln(1 + e^(beta·x)) / beta, and x itself where beta·x exceeds a threshold below 20."""
    x, beta = computing(input, beta)
    y = _softplus(x, beta)
    if threshold is not None and threshold < EXACT_THRESHOLD:
        y = torch.where(x * beta > threshold, x, y)
    return y.to(input.dtype)


def backward(
    grad: Tensor,
    saved: Tensor,
    beta: float | Tensor = 1.0,
    threshold: float | None = None,
    of_output: bool = False,
) -> Tensor:
    """Return grad·sigmoid(beta·x), of the input x or, as -expm1(-beta·y), of the output y."""
    value, beta = computing(saved, beta)
    u = scaled(value, beta)
    slope = -torch.expm1(-u) if of_output else torch.sigmoid(u)
    if threshold is not None and threshold < EXACT_THRESHOLD:
        slope = torch.where(u > threshold, 1.0, slope)
    return (grad * slope).to(saved.dtype)


def shifted_softplus(
    input: Tensor, beta: float | Tensor = 1.0, shift: float | Tensor | None = None
) -> Tensor:
    """Return softplus(x) - shift; without a shift, ln((1 + e^(beta·x)) / 2) / beta.

    Near 0 the difference softplus(x) - ln2/beta cancels, and u/2 + ln(cosh(u/2)) does not, with
    cosh(u/2) = 1 + 2 sinh(u/4)². Not by expm1, which Inductor's vectors take for e^u - 1.
    """
    x, beta = computing(input, beta)
    if shift is not None:
        y = less(_softplus(x, beta), shift)
    else:
        u = scaled(x, beta)
        near = u.abs() < 1
        y = torch.where(
            near,
            x / 2 + torch.log1p(2 * torch.sinh(torch.where(near, u, 0.0) / 4).square()) / beta,
            _softplus(x, beta) - _LN2 / beta,
        )
    return y.to(input.dtype)


def less(y: Tensor, shift: float | Tensor) -> Tensor:
    """Return y - shift, in float64 where either is, which one number less float32 ones is not."""
    if isinstance(shift, Tensor):
        return y - shift.to(torch.promote_types(y.dtype, shift.dtype))
    return y - float(shift)


def inverse_softplus(input: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    """Return x with softplus(x) = y: ln(e^(beta·y) - 1) / beta.

    With v = beta·y, ln(e^v - 1) is taken in the form that cancels nowhere and has every derivative:
    for small v as ln(v) + v/2 + ln(sinh(v/2) / (v/2)), around its zero as w + ln(1 + (1 - e^-w))
    with w = v - ln 2, for large v as v + ln(1 - e^-v).
    """
    y, beta = computing(input, beta)
    v = scaled(y, beta)
    small, large = v < 0.4, v > 1
    middle = ~(small | large)
    near = torch.where(small, v, 0.4)
    of_small = torch.log(near) + (near / 2 + _log_sinhc(near / 2))
    from_zero = torch.where(middle, v, _LN2) - _LN2_HIGH - _LN2_MIDDLE - _LN2_LOW
    # 1 - e^-w, not by expm1: as above.
    of_zero = torch.sinh(from_zero) - 2 * torch.sinh(from_zero / 2).square()
    of_middle = from_zero + torch.log1p(of_zero)
    of_large = torch.log1p(-torch.exp(-torch.where(large, v, 1.0)))
    x = torch.where(large, y + of_large / beta, torch.where(small, of_small, of_middle) / beta)
    return x.to(input.dtype)


def _log_sinhc(w: Tensor) -> Tensor:
    square = w * w
    series = torch.zeros_like(w)
    for coefficient in reversed(_LOG_SINHC):
        series = (series + coefficient) * square
    return series
