"""The table of the half types: each of the 65,536 bfloat16 and float16 results correctly rounded.

A minimax fit leaves some inputs next to a rounding boundary on the wrong side, whatever its
degree. Here each input states the interval its result must fall in before rounding to float32; a
linear program finds the coefficients that keep the largest margin (needs numpy, scipy, mpmath).
"""

import mpmath
import numpy as np
from scipy.optimize import linprog

DEGREE = 4
REFLECT = 0.34  # from here on softplus(x) = x + softplus(-x); so n is 0, -1, …
C = float(np.float32(np.log(2)))
LOG2E = float(np.float32(1.44269504))
mpmath.mp.prec = 100


def inputs(kind: str) -> np.ndarray:
    """Return every finite input whose result is neither x itself nor flushed to zero."""
    codes = np.arange(65536, dtype=np.uint32)
    x = (
        codes.astype(np.uint16).view(np.float16)
        if kind == "float16"
        else (codes << 16).view(np.float32)
    )
    x = np.unique(x[np.isfinite(x)].astype(np.float64))
    return x[(x > (-18 if kind == "float16" else -87.33)) & (x < 12)]


def constraints(kind: str, tail_from: int) -> tuple[np.ndarray, ...]:
    """Return n, r, and the interval for the polynomial at r, with the spacing of float32 there."""
    x = inputs(kind)
    linear = np.where(x < REFLECT, 0.0, x)
    v = np.where(x < REFLECT, x, -x)
    n = np.rint(v * LOG2E)
    y = linear + np.log1p(np.exp(v))
    spacing = np.exp2(np.floor(np.log2(y)) - (10 if kind == "float16" else 7))
    if kind == "float16":
        spacing = np.maximum(spacing, 2.0**-24)
    k = np.rint(y / spacing)
    for i in np.flatnonzero(np.abs(y / spacing - np.floor(y / spacing) - 0.5) < 1e-8):
        exact = linear[i] + mpmath.log1p(mpmath.exp(mpmath.mpf(float(v[i]))))
        k[i] = int(mpmath.nint(exact / mpmath.mpf(float(spacing[i]))))
    # A float32 on the boundary goes to even, so an even result may touch it and an odd one may not.
    single = np.exp2(np.floor(np.log2(y)) - 23)
    even = np.where(k % 2 == 0, 0.5, -0.5) * single
    low, high = (k - 0.5) * spacing - even - linear, (k + 0.5) * spacing + even - linear
    # The last entry gives e^v, and the tail turns it into ln(1 + e^v) for a table of 8.
    last = n <= tail_from
    low, high = (np.where(last, np.expm1(b), b) * np.exp2(-n) for b in (low, high))
    return n, v - n * C, low, high, single * np.exp2(-n)


def solve(
    r: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray, known: list[float]
) -> tuple:
    """Return the next coefficient after the known ones, and the margin in units of float32 spacing."""
    powers = np.arange(len(known), DEGREE + 1)
    fixed = sum(c * r**i for i, c in enumerate(known)) if known else 0.0
    scale = 0.35**powers
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


def entry(
    r: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray
) -> tuple[list[float], float]:
    """Return the constant's low part, the constant and the coefficients, and the margin left."""
    free, _ = solve(r, low, high, unit, [])
    constant = float(np.float32(free))
    known = [constant + float(np.float32(free - constant))]
    for _ in range(DEGREE):
        c, margin = solve(r, low, high, unit, known)
        known.append(float(np.float32(c)))
    return [known[0] - constant, constant, *known[1:]], margin


def table(size: int) -> np.ndarray:
    """Return the rows of a table: the constant's low part, the constant, the coefficients."""
    last = 1 - size
    data = [constraints(kind, last if size == 8 else -1000) for kind in ("float16", "bfloat16")]
    n, r, low, high, unit = (np.concatenate(parts) for parts in zip(*data, strict=True))
    rows = np.zeros((DEGREE + 2, size))
    for k in range(0, last - 1, -1):
        here = n <= k if k == last else n == k
        rows[:, (k - 1) % size], margin = entry(r[here], low[here], high[here], unit[here])
        if margin < 0:
            raise ValueError(f"no coefficients round all inputs of n = {k} correctly")
    return rows
