"""Minimax fits of polynomials, in relative error of the finished result (needs numpy and mpmath).

Not of the polynomial: an absolute fit costs thousands of ULP for x < 0. Coefficients are rounded one
after the other, lowest first, and the rest is fitted anew to what the rounded ones leave.
"""

from collections.abc import Callable, Iterable

import numpy as np
from mpmath import cos, lu_solve, matrix, mp, mpf, pi

mp.prec = 200


def chebyshev(low: mpf, high: mpf, count: int) -> list[mpf]:
    """Return the Chebyshev nodes of [low, high]."""
    return [
        (low + high) / 2 + (high - low) / 2 * cos(pi * (k + mpf("0.5")) / count)
        for k in range(count)
    ]


def lawson(
    r: np.ndarray, rest: np.ndarray, weight: np.ndarray, powers: list[int], iterations: int = 60
) -> tuple[list[float], float]:
    """Return coefficients in float32 by Lawson's iteration in double, and the error, at points r."""
    coefficients = []
    for i in range(len(powers)):
        a = r[:, None] ** np.array(powers[i:]) * weight[:, None]
        scale = np.abs(a).max(0)
        w = np.ones(len(r))
        for _ in range(iterations):
            root = np.sqrt(w)
            c = np.linalg.lstsq(a / scale * root[:, None], rest * weight * root, rcond=None)[0]
            w *= np.abs(a @ (c / scale) - rest * weight) + 1e-30
            w /= w.max()
        coefficients.append(float(np.float32(c[0] / scale[0])))
        rest = rest - coefficients[-1] * r ** powers[i]
    return coefficients, float(np.abs(rest * weight).max())


def fit(
    f: Callable, weight: Callable, low: mpf, high: mpf, powers: Iterable[int], dtype: type
) -> tuple[list[float], float]:
    """Return c, rounded to dtype, and max |f(r) - sum c_i r^powers_i| weight(r) on [low, high]."""
    powers = list(powers)
    coefficients = []
    if dtype is np.float32:
        nodes = chebyshev(low, high, 200)
        sampled = (np.array([float(g(x)) for x in nodes]) for g in (lambda x: x, f, weight))
        return lawson(*sampled, powers)

    def rest_at(x: mpf) -> mpf:
        return f(x) - sum(c * x**p for c, p in zip(coefficients, powers, strict=False))

    for i in range(len(powers)):  # weighted least squares at Chebyshev nodes: near minimax
        nodes = chebyshev(low, high, 3 * len(powers))
        a = matrix([[x**p * weight(x) for p in powers[i:]] for x in nodes])
        b = matrix([rest_at(x) * weight(x) for x in nodes])
        coefficients.append(float(lu_solve(a, b)[0]))
    return coefficients, float(max(abs(rest_at(x) * weight(x)) for x in chebyshev(low, high, 200)))
