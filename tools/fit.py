"""Fits the polynomials and tables of `ops/cpu/maths.h` and prints them as C++ (needs numpy and mpmath).

Each fit is minimax in relative error of the finished result, not of the polynomial: an absolute
fit costs thousands of ULP for x < 0. Coefficients are rounded one after the other, lowest first,
and the rest is fitted anew to what the rounded ones leave.
"""

from collections.abc import Callable, Iterable

import numpy as np
from mpmath import atanh, cos, exp, expm1, log, log1p, lu_solve, matrix, mp, mpf, pi

mp.prec = 200
LN2 = log(2)


def chebyshev(low: mpf, high: mpf, count: int) -> list[mpf]:
    """Return the Chebyshev nodes of [low, high]."""
    return [
        (low + high) / 2 + (high - low) / 2 * cos(pi * (k + mpf("0.5")) / count)
        for k in range(count)
    ]


def fit(
    f: Callable, weight: Callable, low: mpf, high: mpf, powers: Iterable[int], dtype: type
) -> tuple[list[float], float]:
    """Return c, rounded to dtype, and max |f(r) - sum c_i r^powers_i| weight(r) on [low, high]."""
    powers = list(powers)
    coefficients = []
    if dtype is np.float32:  # Lawson's iteration in double
        nodes = chebyshev(low, high, 200)
        r, rest, w = (np.array([float(g(x)) for x in nodes]) for g in (lambda x: x, f, weight))
        for i in range(len(powers)):
            a = r[:, None] ** np.array(powers[i:]) * w[:, None]
            scale = np.abs(a).max(0)
            lawson = np.ones(len(r))
            for _ in range(60):
                root = np.sqrt(lawson)
                c = (
                    np.linalg.lstsq(a / scale * root[:, None], rest * w * root, rcond=None)[0]
                    / scale
                )
                lawson *= np.abs(a @ c - rest * w) + 1e-30
                lawson /= lawson.max()
            coefficients.append(float(np.float32(c[0])))
            rest = rest - coefficients[-1] * r ** powers[i]
        return coefficients, float(np.abs(rest * w).max())

    def rest_at(x: mpf) -> mpf:
        return f(x) - sum(c * x**p for c, p in zip(coefficients, powers, strict=False))

    for i in range(len(powers)):  # weighted least squares at Chebyshev nodes: near minimax
        nodes = chebyshev(low, high, 3 * len(powers))
        a = matrix([[x**p * weight(x) for p in powers[i:]] for x in nodes])
        b = matrix([rest_at(x) * weight(x) for x in nodes])
        coefficients.append(float(lu_solve(a, b)[0]))
    return coefficients, float(max(abs(rest_at(x) * weight(x)) for x in chebyshev(low, high, 200)))


def show(name: str, error: float, values: Iterable[float], dtype: type) -> None:
    """Print one C++ array."""
    suffix = "f" if dtype is np.float32 else ""
    text = ", ".join(short(v) + suffix for v in values)
    print(f"{name}: error 2^{np.log2(error):.1f}\n{{{text}}}")


def short(value: float) -> str:
    """Return the hexadecimal form without trailing zeros."""
    mantissa, exponent = float(value).hex().split("p")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + "p" + exponent


def softplus_table(size: int, degree: int) -> None:
    """2^-n softplus(n c + r) for n = 1 … 2 - size by index (n - 1) mod size, the last one e^r; c = float(ln 2)."""
    c = mpf(float(np.float32(LN2)))
    half = LN2 / 2 * mpf("1.0005")
    rows = np.zeros((degree + 2, size))
    worst = 0.0
    for n in range(1, 1 - size, -1):
        if n == 2 - size:
            value = exp
        else:
            value = lambda r, n=n: log1p(exp(r + n * c)) * mpf(2) ** -n  # noqa: E731
        high = float(np.float32(value(mpf(0))))
        low = float(np.float32(value(mpf(0)) - high)) if degree == 6 else 0.0
        coefficients, error = fit(
            lambda r: value(r) - high - low, lambda r: 1 / value(r), -half,  # noqa: B023
            mpf("0.03") if n == 1 else half, range(1, degree + 1), np.float32,
        )  # fmt: skip
        rows[:, (n - 1) % size] = [low, high, *coefficients]
        worst = max(worst, error)
    print(f"table of {size}, degree {degree}: error 2^{np.log2(worst):.1f}")
    for row in rows[0 if degree == 6 else 1 :]:
        print("{" + ", ".join(short(v) + "f" for v in row) + "},")


def softplus_tail(size: int, terms: int) -> None:
    """ln(1 + t) / t - 1 where the last entry of the table serves."""
    high = mpf(2) ** (mpf("2.51") - size)
    tail, error = fit(
        lambda t: log1p(t) / t - 1,
        lambda _t: 1,
        mpf(2) ** -40,
        high,
        range(1, terms + 1),
        np.float32,
    )
    show(f"tail of {size}, {terms} terms", error, tail, np.float32)


if __name__ == "__main__":
    half = LN2 / 2 * mpf("1.0005")
    for size in (16, 8):
        softplus_table(size, 6)
        softplus_table(size, 5)
    for size, terms in ((16, 1), (8, 4), (8, 3)):
        softplus_tail(size, terms)
    for dtype, degree in ((np.float32, 6), (np.float64, 12), (np.float64, 11)):
        c, error = fit(
            lambda r: (expm1(r) - r) / r**2,
            lambda r: abs(r * r / expm1(r)),
            -half,
            half,
            range(degree - 1),
            dtype,
        )
        show(f"expm1(r) = r + r^2 poly(r), degree {degree}", error, c, dtype)
    for top in (9, 8):
        c, error = fit(
            # log1p(f) = f - (f^2/2 - z (f^2/2 + R)), z = f/(2 + f), R = w poly(w), w = z^2
            lambda w: (atanh(mp.sqrt(w)) * 2 / mp.sqrt(w) - 2) / w, lambda w: w * mp.sqrt(w) / (2 * atanh(mp.sqrt(w))), mpf(0) + mpf(2)**-40, mpf("0.1112"),
            range(top + 1), np.float64,
        )  # fmt: skip
        show(f"atanh series, degree {top} in z^2", error, c, np.float64)
    for degree in (4,):
        c, error = fit(expm1, lambda r: exp(-r), -half, half, range(1, degree + 1), np.float32)
        show(f"half types: expm1, degree {degree}", error, c, np.float32)
