"""Softplus for PyTorch without its trade-offs, and the evidence for your own model."""

from softplus.anneal import BetaAnnealing, harden
from softplus.functional import (
    inverse_softplus,
    logsigmoid,
    shifted_softplus,
    softplus,
    softplus_,
)
from softplus.modules import LogSigmoid, ShiftedSoftplus, Softplus
from softplus.patch import patch

__all__ = [
    "BetaAnnealing",
    "LogSigmoid",
    "ShiftedSoftplus",
    "Softplus",
    "harden",
    "inverse_softplus",
    "logsigmoid",
    "patch",
    "shifted_softplus",
    "softplus",
    "softplus_",
]


def __dir__() -> list[str]:
    """List what users need; the modules that hold it are no part of the face."""
    return __all__
