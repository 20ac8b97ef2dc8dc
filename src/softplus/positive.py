"""Positive quantities through Softplus: an output, a parameter, a value of a distribution."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from torch.nn.utils import parametrize
from torch.overrides import handle_torch_function, has_torch_function

from softplus import arguments
from softplus.functional import inverse_softplus, softplus

_Module = TypeVar("_Module", bound=nn.Module)
# By dtype what a Positive computes with: c, a factor next to 1, the floor.
_Constants = dict[torch.dtype, tuple[float, float, float]]


class Positive(nn.Module):
    """Makes outputs positive: floor + softplus(x + c, beta), which at x = 0 is `initial`.

    >>> scale = Positive(initial=0.1, floor=0.001)
    >>> scale(torch.tensor([-100.0, -1.0, 0.0, 1.0, 100.0]))
    tensor([1.0000e-03, 3.8569e-02, 1.0000e-01, 2.5011e-01, 9.7738e+01])
    >>> nn.Sequential(nn.Linear(4, 2), scale)
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): Positive(initial=0.1, floor=0.001, beta=1.0)
    )

    A network whose last layer starts near 0 so starts at `initial`: put the typical size of the
    target there. The module has no parameters and an empty state_dict.

    At x = 0 the result is `initial` as the dtype holds it, to the last digit, which no c of that
    dtype could do alone: its last digit moves a result of 0.001 by 8 ULP. So softplus is multiplied
    by a factor next to 1, where it has to be. Other implementations of softplus, as on a GPU, may
    be 1 ULP off.

    Args:
        initial: The result at x = 0, in units of the output; above the floor.
        floor: What no result goes below, in units of the output, as the dtype holds it. 0, and
            whatever is less than it, is the smallest normal number of the dtype if `initial` is
            more than that, so that a result is positive even at -inf. That is no scale for a
            density: `Normal(0, 1e-38).log_prob(1)` is -inf. There give a floor in units of the
            data, a thousandth of its spread, say.
        beta: The sharpness, positive, in units of 1/output: a step in x is the same step in a
            result well above 1/beta, and a factor to a result well below.

    Shapes and dtypes: any shape; float32, float64, bfloat16 or float16, which the result keeps.
    Half types are computed in float32.

    Raises:
        TypeError: An argument is no number, or the input no floating-point tensor.
        ValueError: `beta` is not positive and finite, `floor` negative or not finite, or `initial`
            not finite or not above the floor by what float32 can tell.
    """

    def __init__(self, initial: float = 1.0, floor: float = 0.0, beta: float = 1.0) -> None:
        super().__init__()
        arguments.check_positive_beta(beta)
        arguments.check_number("floor", floor)
        arguments.check_floor(floor)
        arguments.check_initial(initial, floor)
        self.initial, self.floor, self.beta = float(initial), float(floor), float(beta)
        self._constants: _Constants = {
            dtype: _constants(self.initial, self.floor, self.beta, dtype)
            for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
        }

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            c, factor, floor = self._constants[input.dtype]
            wide = input if input.dtype == torch.float64 else input.float()
            y = nn.functional.softplus(wide + c, self.beta, 50.0) * factor + floor
            return y.to(input.dtype)
        return _positive(input, self._constants, self.beta)

    @torch.jit.unused
    def inverse(self, output: Tensor) -> Tensor:
        """Return the x of a result.

        >>> scale = Positive(initial=0.1, floor=0.001)
        >>> scale.inverse(torch.tensor([0.001, 0.2, 1.0]))
        tensor([  -inf, 0.7494, 2.8025])

        Right to the last digits of x and of x + c: with the compiled kernels a result goes there
        and back within 2 ULP. Values below 1/beta are not all met: a last digit of x = -7 is 4 ULP.
        The floor gives -inf, +inf gives +inf, and a value below the floor NaN.

        Raises:
            TypeError: As in `softplus.softplus`.
        """
        arguments.check_input(output)
        c, factor, floor = self._constants[output.dtype]
        above = (_widened(output) - floor) / factor
        return (inverse_softplus(above, self.beta) - c).to(output.dtype)

    def extra_repr(self) -> str:
        return f"initial={self.initial}, floor={self.floor}, beta={self.beta}"


def _positive(input: Tensor, constants: _Constants, beta: float) -> Tensor:
    """Compute a Positive: one call to what overrides torch functions, as fx.symbolic_trace does."""
    if has_torch_function((input,)):
        result: Tensor = handle_torch_function(_positive, (input,), input, constants, beta)
        return result
    arguments.check_input(input)
    c, factor, floor = constants[input.dtype]
    y = softplus(_widened(input) + c, beta)
    if factor != 1:
        y = y * factor
    return (y + floor).to(input.dtype)


def _constants(
    initial: float, floor: float, beta: float, dtype: torch.dtype
) -> tuple[float, float, float]:
    """Return c, a factor next to 1 and the floor, with factor·softplus(c) + floor == initial.

    Of the c around the inverse, and the factors around what each of them needs, the first that
    meets `initial` with the kernels; before that, one that does so with PyTorch's softplus too, the
    vectorised one and the one for single elements, which round differently.
    """
    least = torch.finfo(dtype).tiny
    if floor < least and 2 * least <= initial:
        floor = least
    computing = torch.promote_types(dtype, torch.float32)
    wanted = torch.tensor(initial, dtype=computing, device="cpu")
    up = torch.full_like(wanted, math.inf)
    offsets = torch.tensor(sorted(range(-8, 9), key=abs), dtype=computing, device="cpu")
    lowest = torch.full_like(wanted, floor)
    for bottom in (lowest, lowest.nextafter(up)):
        c = inverse_softplus(wanted - bottom, beta) * (1 + torch.finfo(computing).eps * offsets)
        ours = softplus(c, beta)
        vectorised = nn.functional.softplus(c.repeat(4), beta, 50.0)[: len(c)]
        single = torch.stack([nn.functional.softplus(each, beta, 50.0) for each in c])
        needed = (wanted - bottom) / ours
        factors = torch.stack(
            [torch.ones_like(c), needed, needed.nextafter(-up), needed.nextafter(up)]
        )
        met, *met_there = (y * factors + bottom == wanted for y in (ours, vectorised, single))
        rank = met.int() + (met & met_there[0] & met_there[1]).int()
        if rank.any():
            break  # else every sum is a tie, rounded to even, and `initial` is odd
    best = rank.flatten().argmax()
    c, factor = c.expand_as(factors).flatten()[best], factors.flatten()[best]
    if not c.isfinite():
        raise ValueError(
            f"initial must be what softplus of a finite number gives for beta={beta}, got "
            f"{initial}: change initial or beta"
        )
    return c.item(), factor.item(), bottom.item()


def register_positive(
    module: _Module, name: str, beta: float = 1.0, floor: float | None = None
) -> _Module:
    """Keep a parameter or buffer of a module positive, whatever an optimizer does to it.

    >>> class Noise(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = nn.Parameter(torch.tensor([0.001, 0.1, 3.0]))
    >>> noise = register_positive(Noise(), "scale")
    >>> noise.scale
    tensor([1.0000e-03, 1.0000e-01, 3.0000e+00], grad_fn=<AddBackward0>)
    >>> noise.parametrizations.scale.original
    Parameter containing:
    tensor([-6.9073, -2.2522,  2.9489], requires_grad=True)

    `module.scale` is now floor + softplus(raw, beta); the raw value is the same `Parameter` object
    as before, so an optimizer that holds it keeps working. The present value stays, and so does one
    that is assigned later, to the last bit; 1 ULP may be lost next to the floor, where
    value - floor rounds, and elsewhere at most once in 9,000 values.

    A raw value of the same dtype cannot do that alone: its last digit moves a value of 0.001 by 8
    ULP, which is 3% in bfloat16. So softplus(raw) is multiplied by a constant, the buffer
    `module.parametrizations.scale[0].correction`: 1, or as little less as meets the value.

    `torch.nn.utils.parametrize.remove_parametrizations(module, "scale")` undoes it all and leaves
    the value of the moment.

    On the meta device there is no value to keep: after `to_empty` assign one, or load a state_dict.
    Where another module holds the parameter too, that one then reads the raw value: have it read
    `module.scale` instead. Weight decay pulls the raw value towards 0, which is a value of
    floor + ln2/beta: put it into a parameter group with weight_decay=0.

    Args:
        module: The module that holds the parameter or buffer; it is changed.
        name: Its name, as in `module.scale`.
        beta: The sharpness of Softplus, positive, in units of 1/value: a step in the raw value is
            the same step in a value well above 1/beta, and a factor to a value well below.
        floor: What no value goes below, in units of the value. None, and whatever is less than
            it, is the smallest normal number of the dtype. That is positive, but no scale for a
            density: `Normal(0, 1e-38).log_prob(1)` is -inf. There give a floor in units of the
            data, a thousandth of its spread, say.

    Shapes and dtypes: any shape; float32, float64, bfloat16 or float16. In each of them every
    finite raw value gives a strictly positive value.

    Returns:
        `module`.

    Raises:
        TypeError: `beta` is no number, or the tensor is not floating-point.
        ValueError: `beta` or `floor` is not positive and finite; the module has no tensor of this
            name, or has one that is parametrized already; a present value is NaN, infinite or not
            above the floor by a normal number. The module is then unchanged.
    """
    arguments.check_positive_beta(beta)
    arguments.check_positive_floor(floor)
    arguments.check_holds(module, name)
    parametrize.register_parametrization(module, name, _Positive(beta, floor or 0.0))
    return module


class _Positive(nn.Module):
    """The parametrization: floor + correction · softplus(raw), half types computing in float32."""

    correction: Tensor

    def __init__(self, beta: float, floor: float) -> None:
        super().__init__()
        self.beta = beta
        self.floor = floor
        self.register_buffer("correction", torch.ones(()))

    def forward(self, raw: Tensor) -> Tensor:
        return (self.correction * self._uncorrected(raw) + self._floor(raw)).to(raw.dtype)

    def right_inverse(self, value: Tensor) -> Tensor:
        """Return the raw value that stands for `value`, and set the correction that it needs."""
        if not value.is_floating_point():
            raise TypeError(
                "only a floating-point tensor can be kept positive, "
                f"got {str(value.dtype).removeprefix('torch.')}: call .float() first"
            )
        floor = self._floor(value)
        above = _widened(value) - floor
        raw = inverse_softplus(above, self.beta).to(value.dtype)
        if not value.is_meta:  # which has no values yet
            self._check(value, above, raw)
        # From a raw value a little too high the correction is at most 1, where numbers lie half as
        # far apart as above 1, so that some product rounds to the value. From one too low, 5% of
        # all float32 values would be missed. Inverse and Softplus are 3 ULP off at most.
        for _ in range(3):
            too_low = self._uncorrected(raw) < above
            raw = torch.where(too_low, raw.nextafter(raw.new_tensor(math.inf)), raw)
        self.correction = above / self._uncorrected(raw)
        return raw

    def _check(self, value: Tensor, above: Tensor, raw: Tensor) -> None:
        # Softplus returns 0 for what is subnormal, which no correction makes up for.
        floor, least = self._floor(value), torch.finfo(above.dtype).tiny
        refused = ~((above >= least) & raw.isfinite())
        if not refused.any():
            return
        got, over, remedy = value[refused][0].item(), above[refused][0].item(), "the floor"
        if not 0 < over < math.inf:
            allowed = f"finite values above its floor of {floor:.6g}"
        elif over < least:
            allowed = f"values above its floor of {floor:.6g} by {least:.2g} or more"
        else:
            allowed, remedy = f"values whose raw value for beta={self.beta:.6g} is finite", "beta"
        raise ValueError(
            f"a positive tensor must hold {allowed}, got {got:.6g}: change the value or {remedy}"
        )

    def _uncorrected(self, raw: Tensor) -> Tensor:
        return softplus(_widened(raw), self.beta)

    def _floor(self, tensor: Tensor) -> float:
        return max(self.floor, torch.finfo(tensor.dtype).tiny)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, floor={self.floor or 'the smallest normal number'}"


class SoftplusTransform(Transform):
    """Softplus as a transform of `torch.distributions`: y = floor + softplus(x, beta).

    >>> from torch.distributions import Normal, TransformedDistribution
    >>> positive = TransformedDistribution(Normal(0.0, 1.0), [SoftplusTransform(beta=2.0)])
    >>> positive.log_prob(torch.tensor([0.1, 1.0, 10.0]))
    tensor([  0.5047,  -1.2035, -50.9189])

    Unlike torch's transform of this name it has a beta and a floor, is exact beyond x = 20, and
    its inverse keeps its digits around y = ln2/beta. To use it for a constraint everywhere,
    register it: `torch.distributions.biject_to.register`; this package registers nothing.

    Args:
        beta: The sharpness, positive, in units of 1/x.
        floor: What every y stays above, in units of y: 0 or a positive number. Where y would round
            to the floor it is the next number above, with a gradient of 0.
        cache_size: 1 remembers the latest pair of x and y, 0 none.

    Shapes and dtypes: any shape; float32, float64, bfloat16 or float16. Elementwise, strictly
    increasing, from the real line to what is greater than the floor.

    Raises:
        TypeError: `beta` is no number.
        ValueError: `beta` is not positive and finite, or `floor` is negative or not finite.
    """

    domain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, beta: float = 1.0, floor: float = 0.0, cache_size: int = 0) -> None:
        arguments.check_positive_beta(beta)
        arguments.check_floor(floor)
        super().__init__(cache_size=cache_size)
        self.beta = beta
        self.floor = floor
        self.codomain = constraints.greater_than(floor)  # type: ignore[no-untyped-call]

    def with_cache(self, cache_size: int = 1) -> "SoftplusTransform":
        """Return this transform with a cache of that size."""
        if cache_size == self._cache_size:
            return self
        return SoftplusTransform(self.beta, self.floor, cache_size)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - torch's
        """Return ln|dy/dx| = ln(sigmoid(beta·x))."""
        return -self.beta * softplus(-x, self.beta)

    def _call(self, x: Tensor) -> Tensor:
        y = softplus(x, self.beta) + self.floor
        # Rounding reaches the floor, which is no value of Softplus.
        limits = torch.finfo(y.dtype)
        return y.clamp(min=max(limits.tiny, self.floor * (1 + limits.eps)))

    def _inverse(self, y: Tensor) -> Tensor:
        return inverse_softplus(y - self.floor, self.beta)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SoftplusTransform):
            return False
        return (self.beta, self.floor) == (other.beta, other.floor)

    def __hash__(self) -> int:
        return hash((self.beta, self.floor))

    def __repr__(self) -> str:
        return f"SoftplusTransform(beta={self.beta}, floor={self.floor})"


def _widened(tensor: Tensor) -> Tensor:
    """Return half types as float32, in which one rounding at the end gives the nearest result."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
