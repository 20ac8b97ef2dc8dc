"""`audit`: a whole data set through a model, its units counted, and what to do about them."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from math import ceil, inf, log
from typing import Any

import torch
from torch import Tensor, nn

from softplus import samples
from softplus.conversion import counting
from softplus.lab.measures import DEAD_BELOW
from softplus.lab.units.watching import DeadUnits, Units

# A site with fewer dead units than this share of them is left as it is.
_WORTH_CONVERTING = 0.01
# The betas that advice names.
_BETAS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
# At the advised beta this share of a site's dead units has a derivative on some example.
_REVIVED = 0.9


class NothingSeenError(ValueError):
    """There was nothing to audit."""


@dataclass(frozen=True)
class Advice:
    """The sites of one family that convert should take, and at which beta.

    Attributes:
        family: "relu" or "softplus".
        beta: The largest of 0.1, 0.2, 0.5 ... 100 at which nine in ten of the dead units get a
            derivative of 1e-3 or more on some example of the data.
        sites: The names for `include`.
        dead: How many dead units they have.
    """

    family: str
    beta: float
    sites: tuple[str, ...]
    dead: int

    def __str__(self) -> str:
        return (
            f"convert(model, {{{self.family!r}: Softplus(beta={self.beta:g})}}, "
            f"include={list(self.sites)!r})"
        )


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Attributes:
        model: The class of the model.
        seen: What went through it, in words.
        calls: The figures of every call of an activation, in the order of the first batch.
        unseen: ReLUs that ran where Python does not see them, inside of TorchScript or a fused
            operator: one text each.
    """

    model: str
    seen: str
    calls: tuple[Units, ...]
    unseen: tuple[str, ...] = ()

    @property
    def advice(self) -> tuple[Advice, ...]:
        """What convert should take: a call of it for every beta, none where no unit is dead.

        A site is taken where 1% of its units or more are dead.
        """
        dead: dict[str, list[float]] = {}
        units: dict[str, int] = {}
        families: dict[str, str] = {}
        for call in self.calls:
            if call.activation in {"relu", "softplus", "shifted_softplus"}:
                highest = [call.highest[unit] for unit in call.dead]
                dead[call.site] = dead.get(call.site, []) + highest
                units[call.site] = units.get(call.site, 0) + call.units
                families[call.site] = call.activation
        groups: dict[tuple[str, float], list[str]] = {}
        for site, highest in dead.items():
            if len(highest) >= max(1, _WORTH_CONVERTING * units[site]):
                groups.setdefault((families[site], _beta(highest)), []).append(site)
        return tuple(
            Advice(family, beta, tuple(sites), sum(len(dead[site]) for site in sites))
            for (family, beta), sites in sorted(groups.items())
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON has it."""
        return {
            "model": self.model,
            "seen": self.seen,
            "calls": [vars(call) for call in self.calls],
            "unseen": list(self.unseen),
            "advice": [{**vars(each), "code": str(each)} for each in self.advice],
        }


def audit(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    forward: Callable[[nn.Module, Any], Any] | None = None,
) -> Audit:
    """Run a whole data set through a model and count the dead units of every activation.

    >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> _ = nn.init.constant_(model[0].bias, -10.0)
    >>> found = audit(model, torch.randn(100, 8, 2))
    >>> len(found.calls[0].dead), str(found.advice[0])
    (4, "convert(model, {'relu': Softplus(beta=0.5)}, include=['1'])")

    Memory does not grow with the data, and nothing of the model changes: it runs in evaluation
    mode, without gradients, and is put back. Padding counts like any other position.

    Args:
        model: Any module that runs in Python.
        batches: A DataLoader, or any iterable of batches. A batch goes to the model's device; a
            mapping holds the model's keyword arguments, of a tuple or a list the first member is
            the input, anything else is the input.
        forward: How to run the model on a batch where that is not so: `forward(model, batch)`.

    Raises:
        ValueError: There are no batches, or the model called no activation that is known.
    """
    model = getattr(model, "_orig_mod", model)
    run = forward or _forward
    watch = DeadUnits(model)
    unseen = watch.unseen()
    count = 0
    with samples.evaluating(model), torch.no_grad(), watch:
        for count, batch in enumerate(batches, start=1):
            # The search for what is unseen slows every operator, so one batch has to do.
            with unseen if count == 1 else nullcontext():
                run(model, batch)
    calls = watch.calls()
    if not count:
        raise NothingSeenError("batches is empty: give at least one batch")
    if not calls and not unseen.counted:
        raise NothingSeenError(
            f"{type(model).__name__} called no activation that is known (ReLU, Softplus, GELU, "
            "SiLU and their kin): is the right model and forward given?"
        )
    seen = f"{count:,} batch{'es' * (count != 1)}"
    return Audit(type(model).__name__, seen, tuple(calls), tuple(_texts(unseen, model)))


def _forward(model: nn.Module, batch: Any) -> None:
    """Run the model on a batch as data loaders give it."""
    device = next(
        (each.device for each in itertools.chain(model.parameters(), model.buffers())), None
    )
    if isinstance(batch, Mapping):
        model(**{name: _moved(value, device) for name, value in batch.items()})
    else:
        model(_moved(batch[0] if isinstance(batch, (list, tuple)) else batch, device))


def _moved(value: Any, device: torch.device | None) -> Any:
    return value.to(device) if isinstance(value, Tensor) and device else value


def _texts(unseen: counting.Counter, model: nn.Module) -> Iterator[str]:
    """Yield where what ran unseen was called, each place once, with how often."""
    paths = {module: path for path, module in model.named_modules()}
    places = Counter(
        (operator, next((paths[each] for each in modules if each in paths), "?"))
        for family, operator, modules, _ in unseen.counted
        if family != "clamp"
    )
    for (operator, path), times in places.items():
        often = f", {times} times a batch" if times > 1 else ""
        yield f"{operator} in {path or 'the model itself'}{often}"


def _beta(highest: list[float]) -> float:
    """Return the beta at which nine in ten units with these largest inputs get a derivative.

    The derivative of Softplus is the sigmoid of beta times x.
    """
    needed = -log(1 / DEAD_BELOW - 1)
    limits = sorted((needed / x if x < 0 else inf for x in highest), reverse=True)
    limit = limits[min(len(limits) - 1, ceil(_REVIVED * len(limits)) - 1)]
    return max((beta for beta in _BETAS if beta <= limit), default=_BETAS[0])
