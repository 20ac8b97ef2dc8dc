"""The table of the half types: each of the 65,536 bfloat16 and float16 results correctly rounded.

A minimax fit leaves some inputs next to a rounding boundary on the wrong side, whatever its
degree. Here each input states the interval its result must fall in before rounding to float32;
linear programs find the coefficients that keep the largest margin (needs numpy, scipy, mpmath).
With another beta the inputs lie between these: near the exact results the polynomials stay too.
"""

import mpmath
import numpy as np
from scipy.optimize import linprog

DEGREE = 3
# Segments of |x| in a unit: with 2.5 or 3.5 there are no such coefficients of degree 3.
IN_A_UNIT = 2.75
SEGMENTS = 16
# How far a polynomial may be from the exact result, in units of float16 spacing; 0.05 is too near.
NEAR = 0.1
ATTEMPTS = 20
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
    near = NEAR * np.exp2(np.floor(np.log2(y)) - 10)
    return (
        a,
        np.maximum(low - linear, above - near),
        np.minimum(high - linear, above + near),
        single,
    )


def largest_margin(
    a: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray, degree: int
) -> float:
    """Return the highest coefficient of the polynomial that keeps furthest inside the intervals.

    The margin is that in units of float32 spacing.
    """
    middle, half = (a.max() + a.min()) / 2, (a.max() - a.min()) / 2
    at = ((a[:, None] - middle) / half) ** np.arange(degree + 1) / unit[:, None]
    ones = np.ones((len(a), 1))
    result = linprog(
        np.r_[np.zeros(degree + 1), -1],
        np.vstack([np.hstack([-at, ones]), np.hstack([at, ones])]),
        np.r_[-low / unit, high / unit],
        bounds=[(None, None)] * (degree + 1) + [(None, 1e5)],
    )
    return result.x[degree] / half**degree


def row(a: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray) -> list[np.float32]:
    """Return the coefficients for Horner's rule, the highest first.

    Each is found with what those before it give, rounded as the kernels round it. Where their
    roundings put a result outside, others are drawn by moving the highest.

    Raises:
        ValueError: No coefficients were found that round all results correctly.
    """
    for attempt in range(ATTEMPTS):
        found, value = [], np.zeros_like(a)
        for degree in range(DEGREE, -1, -1):
            known = value * a ** (degree + 1)
            c = largest_margin(a, low - known, high - known, unit, degree)
            found.append(np.float32(c if found else c * (1 + attempt * 2.0**-16)))
            value = (value * a + float(found[-1])).astype(np.float32).astype(np.float64)
        if np.all((low <= value) & (value <= high)):
            return found
    raise ValueError(f"no coefficients for |x| from {a.min()} to {a.max()}")


def table() -> np.ndarray:
    """Return the rows of the table: the coefficients of each segment, from the highest on."""
    data = [constraints(kind) for kind in ("float16", "bfloat16")]
    a, low, high, unit = (np.concatenate(parts) for parts in zip(*data, strict=True))
    segment = np.rint(a * IN_A_UNIT)
    return np.array([
        row(*(each[segment == i] for each in (a, low, high, unit))) for i in range(SEGMENTS)
    ]).T  # fmt: skip
