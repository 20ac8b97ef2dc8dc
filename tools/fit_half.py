"""The table of the half types: each of the 65,536 bfloat16 and float16 results correctly rounded.

A minimax fit leaves some inputs next to a rounding boundary on the wrong side, whatever its
degree. Here each input states the interval its result must fall in before rounding to float32; a
linear program finds the coefficients that keep the largest margin (needs numpy, scipy, mpmath).
"""

import mpmath
import numpy as np
from scipy.optimize import linprog

DEGREE = 3
# Segments of |x| in a unit: with 2.5 or 3.5 there are no such coefficients of degree 3.
IN_A_UNIT = 2.75
SEGMENTS = 16
mpmath.mp.prec = 100


def inputs(kind: str) -> np.ndarray:
    """Return the inputs of all segments; from 2^-16 down their results are that for 0."""
    codes = np.arange(65536, dtype=np.uint32)
    x = (
        codes.astype(np.uint16).view(np.float16)
        if kind == "float16"
        else (codes << 16).view(np.float32)
    )
    x = np.unique(x[np.isfinite(x)].astype(np.float64))
    size = np.abs(x)
    return x[(size * IN_A_UNIT < SEGMENTS - 0.5) & ((size >= 2.0**-16) | (x == 0))]


def constraints(kind: str) -> tuple[np.ndarray, ...]:
    """Return |x|, and the interval for the polynomial there, with the spacing of float32."""
    x = inputs(kind)
    a, linear = np.abs(x), np.maximum(0, x)
    above = np.log1p(np.exp(-a))
    y = linear + above
    spacing = np.exp2(np.floor(np.log2(y)) - (10 if kind == "float16" else 7))
    k = np.rint(y / spacing)
    for i in np.flatnonzero(np.abs(y / spacing - np.floor(y / spacing) - 0.5) < 1e-8):
        exact = linear[i] + mpmath.log1p(mpmath.exp(mpmath.mpf(float(-a[i]))))
        k[i] = int(mpmath.nint(exact / mpmath.mpf(float(spacing[i]))))
    # A float32 on the boundary goes to even, so an even result may touch it and an odd one may not.
    single = np.exp2(np.floor(np.log2(y)) - 23)
    even = np.where(k % 2 == 0, 0.5, -0.5) * single
    # For x > 0 the polynomial is rounded before x is added.
    rounding = np.where(x > 0, np.exp2(np.floor(np.log2(above)) - 24), 0.0)
    low, high = (k - 0.5) * spacing - even + rounding, (k + 0.5) * spacing + even - rounding
    return a, low - linear, high - linear, single


def solve(
    r: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray, known: list[float]
) -> tuple:
    """Return the next coefficient after the known ones, and the margin in units of float32 spacing."""
    powers = np.arange(len(known), DEGREE + 1)
    fixed = sum(c * r**i for i, c in enumerate(known)) if known else 0.0
    scale = 0.25**powers
    a = r[:, None] ** powers / scale
    matrix = (
        np.vstack([np.hstack([-a, unit[:, None]]), np.hstack([a, unit[:, None]])])
        / np.r_[unit, unit][:, None]
    )
    bound = np.r_[-(low - fixed), high - fixed] / np.r_[unit, unit]
    result = linprog(
        np.r_[np.zeros(len(powers)), -1],
        matrix,
        bound,
        bounds=[(None, None)] * len(powers) + [(None, 1e5)],
    )
    return result.x[0] / scale[0], result.x[-1]


def table() -> np.ndarray:
    """Return the rows of the table: the centres, the coefficients from the highest on."""
    data = [constraints(kind) for kind in ("float16", "bfloat16")]
    a, low, high, unit = (np.concatenate(parts) for parts in zip(*data, strict=True))
    segment = np.rint(a * IN_A_UNIT)
    columns = []
    for i in range(SEGMENTS):
        here = segment == i
        centre = round(max(i, 0.25) / IN_A_UNIT * 128) / 128  # r = |x| - centre is exact
        known: list[float] = []
        for _ in range(DEGREE + 1):
            c, margin = solve(a[here] - centre, low[here], high[here], unit[here], known)
            known.append(float(np.float32(c)))
        if margin < 0:
            raise ValueError(f"no coefficients round all inputs of segment {i} correctly")
        columns.append([centre, *known[::-1]])
    return np.array(columns).T
