"""Softplus and its relatives as modules, drop-in beside `torch.nn`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from softplus import arguments, functional

# The floor of a learnable beta: the smallest normal number of float16, so that neither beta nor
# 1/beta leaves the range of any dtype.
_BETA_FLOOR = 2.0**-14


class _WithBeta(nn.Module):
    """Holds beta: a fixed number, or a parameter that no optimizer step can make zero or negative.

    The parameter is `raw_beta`, with beta = softplus(raw_beta) + 2^-14.
    """

    inplace: bool
    raw_beta: nn.Parameter | None
    _fixed_beta: float  # of a learnable one where it started
    channel_dim: int = 1  # of a module that was pickled before it had the attribute

    def _start(self, beta: float, learnable: bool, num_parameters: int, channel_dim: int) -> None:
        arguments.check_module_beta(beta)
        arguments.check_num_parameters(num_parameters, learnable)
        arguments.check_channel_dim(channel_dim)
        if learnable:
            arguments.check_learnable(beta, _BETA_FLOOR)
        self.num_parameters = num_parameters
        self.channel_dim = channel_dim
        # A float, which torch.compile turns into a variable where it changes: an int of a module it
        # takes for a constant, and compiles anew for each.
        self._fixed_beta = float(beta)
        self.raw_beta = nn.Parameter(torch.empty(num_parameters)) if learnable else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set a learnable beta to where it started, as after `to_empty` on a new device."""
        if self.raw_beta is None:
            return
        above = torch.full((), self._fixed_beta - _BETA_FLOOR, dtype=torch.float64, device="cpu")
        with torch.no_grad():
            self.raw_beta.copy_(functional.inverse_softplus(above))

    @property
    def beta(self) -> float | Tensor:
        """The sharpness: the number given, or the tensor that `raw_beta` stands for now."""
        raw_beta = self.raw_beta  # looked up once, for nn.Module takes 0.5 microseconds to find it
        if raw_beta is None:
            return self._fixed_beta
        # As a shift: softplus(raw_beta) + 2^-14 is two calls, and 5.4 microseconds in place of 2.0.
        return functional.shifted_softplus(raw_beta, 1.0, -_BETA_FLOOR)

    @beta.setter
    def beta(self, beta: float) -> None:
        arguments.check_module_beta(beta)
        if self.raw_beta is not None:
            raise AttributeError(
                "beta is learnable: change raw_beta, with beta = softplus(raw_beta) + 2^-14"
            )
        self._fixed_beta = float(beta)

    def _along_channels(
        self, input: Tensor, function: Callable[[Tensor, float | Tensor], Tensor]
    ) -> Tensor:
        """Return function(input, beta), several betas running along channel_dim as in nn.PReLU."""
        beta: Any = self.beta  # a number, a tensor, or a tracer's proxy of one
        if self.num_parameters == 1:
            if isinstance(beta, Tensor) and isinstance(input, Tensor) and input.dim() == 0:
                beta = beta.squeeze()  # of shape (1,), which would give the result a dimension
            return function(input, beta)
        if isinstance(input, fx.Proxy):
            # It does not tell the number of dimensions: beta goes along the last.
            last = function(input.transpose(self.channel_dim, -1), beta)
            return last.transpose(self.channel_dim, -1)
        arguments.check_channels(input, self.num_parameters, self.channel_dim)
        dimensions_after = -1 - self.channel_dim
        if self.channel_dim >= 0:
            dimensions_after += input.dim()
        return function(input, beta.view(-1, *[1] * dimensions_after))

    def _options(self) -> list[str]:
        beta = f"beta={str(self._fixed_beta).removesuffix('.0')}"
        learnable = f"learnable=True, num_parameters={self.num_parameters}"
        if self.channel_dim != 1:
            learnable += f", channel_dim={self.channel_dim}"
        return [
            learnable if self.raw_beta is not None else beta,
            *(["inplace=True"] if self.inplace else []),
        ]

    def extra_repr(self) -> str:
        return ", ".join(self._options())


class Softplus(_WithBeta, nn.Softplus):  # type: ignore[misc]  # there, beta is no property
    """Softplus as a module: ln(1 + e^(beta·x)) / beta for every element.

    >>> Softplus()(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([0.1269, 0.6931, 2.1269])
    >>> nn.Sequential(nn.Linear(4, 3), Softplus(beta=10))
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): Softplus(beta=10)
    )

    Is a `torch.nn.Softplus`: same positional arguments, same (empty) state_dict, `isinstance`
    holds. Unlike it, the default is the exact function, without a threshold.

    Args:
        beta: The sharpness, in units of 1/input: a finite number other than 0; where `learnable`,
            the positive starting value.
        threshold: See `softplus.softplus`; None is the exact function, and so is math.inf, with
            which the result may be changed in place (`y += 1`) before backward, as nn.Softplus's.
        inplace: Overwrite the input with the result.
        learnable: Make beta a parameter, `raw_beta`, kept positive:
            beta = softplus(raw_beta) + 2^-14. Weight decay pulls `raw_beta` towards 0, which is
            beta = 0.69: put it into a parameter group with weight_decay=0. `reset_parameters()`
            sets it to where it started, as it has to be after `to_empty`.
        num_parameters: How many betas are learned: 1, or the size of a dimension of the input.
        channel_dim: Which dimension that is; a negative one counts from the last.

    Shapes and dtypes: any shape; float32, float64, bfloat16 or float16, which the result keeps.

    Raises:
        TypeError, ValueError: As `softplus.softplus` does, here and at the call; ValueError for
            a learnable beta that starts below 2^-14 and for `num_parameters` that is not the size
            of `channel_dim`.
    """

    threshold: float | None  # type: ignore[assignment]  # nn.Softplus has no exact setting

    def __init__(
        self,
        beta: float = 1.0,
        threshold: float | None = None,
        *,
        inplace: bool = False,
        learnable: bool = False,
        num_parameters: int = 1,
        channel_dim: int = 1,
    ) -> None:
        nn.Module.__init__(self)
        self._start(beta, learnable, num_parameters, channel_dim)
        arguments.check_threshold(threshold)
        self.threshold = threshold
        self.inplace = inplace

    # torch.jit.script knows neither keyword-only arguments nor what is a number or a tensor: it
    # compiles PyTorch's operator, which with a threshold of 50 is exact too.
    __jit_unused_properties__ = ("beta",)

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            if self.threshold is None:
                return nn.functional.softplus(input, self._fixed_beta, 50.0)
            threshold = min(float(self.threshold), 50.0)
            return nn.functional.softplus(input, self._fixed_beta, threshold)
        return self._along_channels(input, self._activate)

    def _activate(self, input: Tensor, beta: float | Tensor) -> Tensor:
        return functional.softplus(input, beta, self.threshold, inplace=self.inplace)

    def _options(self) -> list[str]:
        threshold = [] if self.threshold is None else [f"threshold={self.threshold}"]
        return [*super()._options(), *threshold]


class ShiftedSoftplus(_WithBeta):
    """Shifted Softplus as a module: softplus(x, beta) - shift, by default 0 at exactly 0.

    >>> ShiftedSoftplus()(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3799,  0.0000,  0.6201])

    Args:
        beta: As in `Softplus`.
        shift: What to subtract, in units of the output: a finite number; None is ln2/beta.
        inplace: Overwrite the input with the result.
        learnable: As in `Softplus`.
        num_parameters: As in `Softplus`.
        channel_dim: As in `Softplus`.

    Shapes, dtypes and errors: as in `Softplus`.

    Source: the activation of Schütt et al., SchNet, NIPS 2017.
    """

    def __init__(
        self,
        beta: float = 1.0,
        shift: float | None = None,
        *,
        inplace: bool = False,
        learnable: bool = False,
        num_parameters: int = 1,
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        self._start(beta, learnable, num_parameters, channel_dim)
        arguments.check_scalar_shift(shift)
        self.shift = shift
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        def shifted(x: Tensor, beta: float | Tensor) -> Tensor:
            return functional.shifted_softplus(x, beta, self.shift)

        def shifted_(x: Tensor, beta: float | Tensor) -> Tensor:
            return functional.overwrite(x, lambda x: shifted(x, beta))

        return self._along_channels(input, shifted_ if self.inplace else shifted)

    def _options(self) -> list[str]:
        shift = [] if self.shift is None else [f"shift={self.shift}"]
        return [*super()._options(), *shift]


class LogSigmoid(nn.LogSigmoid):
    """Log-sigmoid as a module: ln(sigmoid(x)) = -softplus(-x) for every element.

    >>> LogSigmoid()(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([-2.1269, -0.6931, -0.1269])

    Is a `torch.nn.LogSigmoid`.

    Args:
        inplace: Overwrite the input with the result.

    Shapes, dtypes and errors: those of `softplus.logsigmoid`.
    """

    inplace: bool = False  # of a module that was pickled before it had the attribute

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return nn.functional.logsigmoid(input)
        if self.inplace:
            return functional.softplus(input, -1.0, inplace=True)
        return functional.logsigmoid(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""
