"""Softplus for PyTorch without its trade-offs, and the evidence for your own model."""

from softplus.convert import convert, find_sites
from softplus.functional import (
    inverse_softplus,
    logsigmoid,
    shifted_softplus,
    softplus,
    softplus_,
)
from softplus.modules import LogSigmoid, ShiftedSoftplus, Softplus

__all__ = [
    "LogSigmoid",
    "ShiftedSoftplus",
    "Softplus",
    "convert",
    "find_sites",
    "inverse_softplus",
    "logsigmoid",
    "shifted_softplus",
    "softplus",
    "softplus_",
]


def __dir__() -> list[str]:
    """List what users need; the modules that hold it are no part of the face."""
    return __all__
