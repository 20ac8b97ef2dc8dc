"""Beta-annealing: Softplus sharpened while it trains, on its way to ReLU."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from softplus import arguments
from softplus.conversion.selection import Patterns, Selection, matched
from softplus.conversion.sites import in_parametrization
from softplus.modules import ShiftedSoftplus


def _linear(start: float, end: float, done: float) -> float:
    return start * (1 - done) + end * done


# From start to end with the share of the steps done; each is exact at both ends.
_SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "geometric": lambda start, end, done: start ** (1 - done) * end**done,
    "linear": _linear,
    "cosine": lambda start, end, done: _linear(start, end, (1 - math.cos(math.pi * done)) / 2),
}


class BetaAnnealing:
    """Moves the beta of a model's Softplus modules from start to end while it trains.

    >>> from softplus import Softplus
    >>> model = nn.Sequential(nn.Linear(4, 8), Softplus(), nn.Linear(8, 1))
    >>> annealing = BetaAnnealing(model, start=1, end=100, steps=2)
    >>> model[1].beta
    1.0
    >>> annealing.step()  # after each step of the optimizer
    >>> model[1].beta
    10.0
    >>> annealing.step()
    >>> model[1].beta, annealing.finished
    (100.0, True)

    It writes the attribute `beta` and nothing else, so it works in any training loop;
    `softplus.integrations` has callbacks for Lightning and for Hugging Face's Trainer. It finds
    `Softplus`, `ShiftedSoftplus` (without a `shift` of its own, ln2/beta follows) and
    `torch.nn.Softplus`, but no call of a function and nothing inside a parametrization.

    A `state_dict` of the model does not hold beta: save that of the annealing beside it.

    Args:
        model: The model that trains; its activations get `start` at once.
        start: The first beta, positive, in units of 1/input.
        end: The last beta, positive.
        steps: How many calls of `step` lead from start to end.
        schedule: "geometric" (a constant factor a step), "linear" or "cosine" (half a cosine, flat
            at both ends).
        exclude: Patterns of `fnmatch` for the names of activations to leave as they are, or of
            modules that hold them. Use it for a Softplus that makes an output positive.

    Raises:
        TypeError, ValueError: An argument is none of the above, the model has no such activation,
            or one has a learnable beta. The model is then unchanged.
    """

    def __init__(
        self,
        model: nn.Module,
        start: float,
        end: float,
        steps: int,
        schedule: str = "geometric",
        *,
        exclude: Patterns = None,
    ) -> None:
        _check_schedule(start, end, steps, schedule)
        self._activations = activations(model, None, exclude)
        learnable = [
            name
            for name, module in self._activations.items()
            if getattr(module, "raw_beta", None) is not None
        ]
        if learnable:
            raise ValueError(
                f"the beta of {', '.join(learnable)} is learnable: training sets it, a schedule "
                "cannot; build the module with learnable=False, or name it in exclude"
            )
        self._settings: dict[str, Any] = {
            "start": start,
            "end": end,
            "steps": steps,
            "schedule": schedule,
        }
        self._interpolate = _SCHEDULES[schedule]
        self.steps = steps
        self._move_to(0)

    @property
    def finished(self) -> bool:
        """Whether beta has arrived at its end, and no further step may be made."""
        return self.taken == self.steps

    def step(self) -> None:
        """Move beta on by one step; RuntimeError if it has arrived, and beta stays."""
        if self.finished:
            raise RuntimeError(
                f"the annealing has made all of its steps={self.steps} and beta is "
                f"{self.beta:g}: make no step where annealing.finished, or give it more steps"
            )
        self._move_to(self.taken + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to continue, ready for `torch.save` or JSON."""
        return {**self._settings, "activations": list(self._activations), "taken": self.taken}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the annealing that gave this state stood.

        Raises:
            ValueError: The state is of another schedule or of a model with other activations, or
                no state at all. Beta then stays.
        """
        here = self.state_dict()
        for key in [key for key in here if key != "taken"]:
            if state_dict.get(key) != here[key]:
                raise ValueError(
                    f"the state was saved with {key}={state_dict.get(key)!r}, and this annealing "
                    f"has {here[key]!r}: build it for the same model with the same arguments"
                )
        taken = state_dict.get("taken")
        if not isinstance(taken, int) or not 0 <= taken <= self.steps:
            raise ValueError(
                f"taken must be a whole number from 0 to steps={self.steps}, got {taken!r}: pass "
                "what state_dict() returned"
            )
        self._move_to(taken)

    def _move_to(self, taken: int) -> None:
        self.taken = taken
        start, end = self._settings["start"], self._settings["end"]
        self.beta = float(self._interpolate(start, end, taken / self.steps))
        for module in self._activations.values():
            module.beta = self.beta


def _check_schedule(start: float, end: float, steps: int, schedule: str) -> None:
    for name, beta in (("start", start), ("end", end)):
        arguments.check_positive_beta(beta, name)
    arguments.check_steps(steps)
    if schedule not in _SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(_SCHEDULES)}, got {schedule!r}")


def activations(model: nn.Module, include: Patterns, exclude: Patterns) -> dict[str, Any]:
    """Return the Softplus modules that are activations, by name, subclasses among them.

    Raises:
        TypeError: `model` is no module.
        ValueError: A pattern matches nothing, or there is no such module.
    """
    arguments.check_model(model)
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Softplus, ShiftedSoftplus)) and not in_parametrization(name)
    }
    included = Selection("include", include, model, found)
    staying = matched(model, Selection("exclude", exclude, model, found))
    chosen = {
        name: module
        for name, module in found.items()
        if module not in staying and (include is None or name in included)
    }
    if not chosen:
        raise ValueError(
            f"no Softplus module found in this {type(model).__name__}"
            f"{' that include and exclude leave' if found else ''}: where the model calls a "
            "function (softplus, F.softplus), give it a module instead, such as softplus.Softplus()"
        )
    return chosen
