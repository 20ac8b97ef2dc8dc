"""Prints `ops/triton/constants.py`, the constants of the GPU kernels, as Python.

    python tools/triton_constants.py > src/softplus/ops/triton/constants.py

Most are those of `ops/cpu/constants.h`; a test holds the file to what this prints.
"""

import numpy as np
from constants import (
    LN2,
    LN2_FLOAT,
    atanh_series,
    entropy_gap_series,
    expm1_over_r,
    expm1_series,
    log1p_series,
    log_cosh_series,
    shortened,
)
from fit import fit
from mpmath import exp, log1p, mpf

NEAR = "1.04"  # up to here the even function ln cosh serves the forward pass of float32

TEXT = '''\
"""The constants of the GPU kernels, as tools/triton_constants.py prints them: change them there.

`error`: the largest that a polynomial makes, unrounded, relative to the finished result.
"""

LOG2E = {log2e!r}
# ln 2 in two parts: of doubles, and of floats
LN2, LN2_REST = {ln2!r}, {ln2_rest!r}
LN2_FLOAT, LN2_FLOAT_REST = {ln2_float!r}, {ln2_float_rest!r}
# The same with so few digits in the first part that its multiples are exact
LN2_SHORT_DOUBLE, LN2_SHORT_DOUBLE_REST = {short_double!r}, {short_double_rest!r}
LN2_SHORT_SINGLE, LN2_SHORT_SINGLE_REST = {short_single!r}, {short_single_rest!r}

# (e^r - 1 - r) / r^2 for |r| <= ln2/2, and (e^r - 1) / r for bfloat16 and float16
{expm1_double}
{expm1_single}
{expm1_single_in_double}
{expm1_half}
# (2^f - 1) / f for |f| <= 1/2, for bfloat16
{exp2_half}

# (2 atanh(z) / z - 2) / w, w = z^2, for z up to 1/3
{atanh}

# ln(1 + t) / t for t up to 1, to the digits of float32
{log1p_single}
# … as floats over 2^24, for bfloat16
{log1p_half}
# (ln(1 + t) - t) / t^2 for t up to e^-{near}, as floats, and for t up to 1, for bfloat16
{log1p_rest}
{log1p_rest_half}

# From this |u| on float32 takes the exponential's way, below it that of ln(cosh(u/2))
NEAR = {near}
# ln(cosh(u/2)) / w, w = u^2, for |u| up to 1.5, to the digits of float32, and as floats
{log_cosh_single}
{log_cosh}

# (ln 2 - entropy(u)) / w, w = u^2, for |u| up to 1.5
{entropy_gap}'''


def log1p_rest(largest: object, degree: int) -> tuple[list[float], float]:
    """Return (ln(1 + t) - t) / t^2."""
    return fit(
        lambda t: (log1p(t) - t) / t**2,
        lambda t: t**2 / log1p(t),
        mpf(2) ** -20,
        largest,
        range(degree + 1),
        np.float32,
    )


def exp2_half() -> tuple[list[float], float]:
    """Return (2^f - 1) / f."""
    largest = mpf("0.5005")
    return fit(
        lambda f: (mpf(2) ** f - 1) / f,
        lambda f: f / mpf(2) ** f,
        -largest,
        largest,
        range(5),
        np.float32,
    )


def log1p_half() -> tuple[list[float], float]:
    """Return ln(1 + t) / t over 2^24."""
    fitted, error = fit(
        lambda t: log1p(t) / t,
        lambda t: t / log1p(t),
        mpf(2) ** -20,
        mpf("1.001"),
        range(8),
        np.float32,
    )
    return [coefficient / 2**24 for coefficient in fitted], error


def series(name: str, fitted: tuple[list[float], float]) -> str:
    """Return the definition of a tuple of coefficients, with their error."""
    coefficients, error = fitted
    body = "".join(f"    {coefficient!r},\n" for coefficient in coefficients)
    return f"{name} = (  # error 2^{np.log2(error):.1f}\n{body})"


def module() -> str:
    """Return the text of constants.py."""
    ln2, short_double, short_single = mpf(float(LN2)), shortened(LN2, 42), shortened(LN2, 16)
    return TEXT.format(
        near=NEAR,
        log2e=float(1 / LN2),
        ln2=float(ln2),
        ln2_rest=float(LN2 - ln2),
        ln2_float=float(LN2_FLOAT),
        ln2_float_rest=float(np.float32(LN2 - LN2_FLOAT)),
        short_double=float(short_double),
        short_double_rest=float(LN2 - short_double),
        short_single=float(short_single),
        short_single_rest=float(np.float32(LN2 - short_single)),
        expm1_double=series("EXPM1_DOUBLE", expm1_series(12, np.float64)),
        expm1_single=series("EXPM1_SINGLE", expm1_series(6, np.float32)),
        expm1_single_in_double=series("EXPM1_SINGLE_IN_DOUBLE", expm1_series(7, np.float64)),
        expm1_half=series("EXPM1_HALF", expm1_over_r(4)),
        exp2_half=series("EXP2_HALF", exp2_half()),
        log1p_half=series("LOG1P_HALF", log1p_half()),
        atanh=series("ATANH", atanh_series(9)),
        log1p_single=series("LOG1P_SINGLE", log1p_series(11, np.float64)),
        log1p_rest=series("LOG1P_REST", log1p_rest(exp(-mpf(NEAR)) * mpf("1.01"), 6)),
        log1p_rest_half=series("LOG1P_REST_HALF", log1p_rest(mpf("1.01"), 6)),
        log_cosh_single=series("LOG_COSH_SINGLE", log_cosh_series(5, "2.26", np.float64)),
        log_cosh=series("LOG_COSH", log_cosh_series(4, "1.57", np.float32)),
        entropy_gap=series("ENTROPY_GAP", entropy_gap_series(12, np.float64)),
    )


if __name__ == "__main__":
    print(module())
