"""Softplus for PyTorch without its trade-offs, and the evidence for your own model."""

from softplus.annealing import BetaAnnealing
from softplus.conversion import convert, find_sites
from softplus.functional import (
    inverse_softplus,
    logsigmoid,
    shifted_softplus,
    softplus,
    softplus_,
)
from softplus.hardening import harden
from softplus.init import calculate_gain, centering, looks_linear_
from softplus.modules import LogSigmoid, ShiftedSoftplus, Softplus
from softplus.patching import patch
from softplus.positive import Positive, SoftplusTransform, register_positive

__all__ = [
    "BetaAnnealing",
    "LogSigmoid",
    "Positive",
    "ShiftedSoftplus",
    "Softplus",
    "SoftplusTransform",
    "calculate_gain",
    "centering",
    "convert",
    "find_sites",
    "harden",
    "inverse_softplus",
    "logsigmoid",
    "looks_linear_",
    "patch",
    "register_positive",
    "shifted_softplus",
    "softplus",
    "softplus_",
]

__version__ = "0.1.0"


def __dir__() -> list[str]:
    """List what users need; the modules that hold it are no part of the face."""
    return __all__
