"""The numbers that the GPU kernels take for a beta, which may have no float of its own.

beta = ±(size + size_low), 1 / |beta| = inverse (1 + inverse_error): as in `ops/cpu/maths.h`.
"""

import functools
import math
import struct
from fractions import Fraction
from typing import NamedTuple

_LN2 = math.log(2)


class Parameters(NamedTuple):
    """What stands for a beta in a dtype: all are numbers of that dtype."""

    size: float
    size_low: float
    inverse: float
    inverse_error: float
    lowest: float  # the |x| from which on softplus(-|x|) is 0
    slope_lowest: float  # … from which on its derivative is 0 or, in double backward, constant
    bend_lowest: float  # … from which on its second derivative is 0
    least: float  # exponents below this one are multiplied in later: all is normal until then


@functools.lru_cache(maxsize=1024)
def of(beta: float, *, double: bool) -> Parameters:
    """Return what the kernels take for a beta, in float64 or in float32."""
    rounded = float if double else _single
    exact = Fraction(abs(beta))
    size, inverse = rounded(float(exact)), rounded(float(1 / exact))
    log_size = math.log(exact)
    # where e^v rounds to 0 in this type, and a little beyond
    zero = -(1075.5 if double else 150.5) * _LN2
    return Parameters(
        size,
        rounded(float(exact - Fraction(size))),
        inverse,
        rounded(float(1 / (exact * Fraction(inverse)) - 1)),
        rounded((zero + log_size) / float(exact)),
        rounded((zero - max(0.0, log_size)) / float(exact)),
        rounded((zero - log_size) / float(exact)),
        min(-40.0, -40.0 + log_size / _LN2 // 1),
    )


def _single(value: float) -> float:
    """Return the nearest float32 number."""
    nearest: float = struct.unpack("f", struct.pack("f", value))[0]
    return nearest
