"""Prints `ops/cpu/constants.h`, the constants of the kernels, as C++ (needs numpy, scipy, mpmath).

    python tools/constants.py > src/softplus/ops/cpu/constants.h

A test holds that file to what this prints.
"""

import textwrap
from collections.abc import Callable, Iterable

import fit_half
import numpy as np
from fit import fit
from mpmath import atanh, cosh, exp, expm1, log, log1p, mp, mpf

mp.prec = 200
LN2 = log(2)
LN2_FLOAT = mpf(float(np.float32(LN2)))
HALF_STEP = LN2 / 2 * mpf("1.0005")  # |r|, with room for the rounding of n
REFLECT_FROM = 0.6  # up to here the reflection would cost half an ULP
SIZES = (16, 8)  # of the tables, one for each size of `lookup`

TEXT = """\
// The constants of maths.h, as tools/constants.py makes and prints them: change them there.
// clang-format off
#pragma once

namespace softplus {{
namespace {{

constexpr double LOG2E = {log2e};
// ln 2 in two parts
constexpr double LN2 = {ln2}, LN2_REST = {ln2_rest};
// The same with so few digits in the first part that its multiples are exact
template <class T> constexpr T LN2_SHORT = {short_double};
template <class T> constexpr T LN2_SHORT_REST = {short_double_rest};
template <> constexpr float LN2_SHORT<float> = {short_single}f;
template <> constexpr float LN2_SHORT_REST<float> = {short_single_rest}f;
// ln 2 as a float, and how much larger that is
constexpr float LN2_FLOAT = {ln2_float}f, LN2_FLOAT_EXCESS = {ln2_float_excess}f;

// `error`: the largest that a polynomial makes, unrounded, relative to the finished result.

// (e^r - 1 - r) / r^2 for |r| <= ln2/2, and (e^r - 1) / r for the half types
constexpr double EXPM1_DOUBLE[] ={expm1_double}
constexpr float EXPM1_SINGLE[] ={expm1_single}
constexpr double EXPM1_SINGLE_IN_DOUBLE[] ={expm1_single_in_double}
constexpr float EXPM1_HALF[] ={expm1_half}

// (2 atanh(z) / z - 2) / w, w = z^2, for z up to 1/3
constexpr double ATANH[] ={atanh}

// ln(1 + t) / t for t up to 1, to the digits of float32
constexpr double LOG1P_SINGLE[] ={log1p_single}

// ln(cosh(u/2)) / w, w = u^2, for |u| up to 1.5, to the digits of float32
constexpr double LOG_COSH_SINGLE[] ={log_cosh_single}
// The same as floats, for |u| up to 1.25
constexpr float LOG_COSH[] ={log_cosh}

// (ln 2 - entropy(u)) / w, w = u^2, for |u| up to 1.5
constexpr double ENTROPY_GAP[] ={entropy_gap}

// In float32 and below, Softplus goes from v to the result in one step, without e^v and ln(1 + t)
// on the way: with v = n c + r, c = float(ln 2) and |r| <= ln2/2, 2^-n softplus(v) is a polynomial
// in r whose coefficients are looked up by n - 1. The last entry is e^r, which a short series in
// t = e^v turns into the rest; there c - ln 2 counts too.
// Rows: the constant's low part, the constant, the coefficients of r, … r^6.
template <int ENTRIES> constexpr float TABLE[8][ENTRIES] = {{}};
{table}
// (ln(1 + t) / t - 1) / t for the t of the last entry
template <int ENTRIES> constexpr float TAIL[] = {{0}};
{tail}
// The same for bfloat16 and float16, from n = 0 on: low part, constant, coefficients of r, … r^4,
// so that all 65,536 results of either type round correctly. The last of 16 entries serves e^v and
// ln(1 + e^v) alike there.
template <int ENTRIES> constexpr float HALF_TABLE[6][ENTRIES] = {{}};
{half_table}
// From where on an input is reflected, softplus(x) = x + softplus(-x)
constexpr float REFLECT_FROM = {reflect_from}f, HALF_REFLECT_FROM = {half_reflect_from}f;

}}  // namespace
}}  // namespace softplus"""


def number(value: float) -> str:
    """Return the hexadecimal form without trailing zeros."""
    mantissa, exponent = float(value).hex().split("p")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + "p" + exponent


def array(values: Iterable[float], dtype: type) -> str:
    """Return the elements of one C++ array in lines of at most 100 characters."""
    suffix = "f" if dtype is np.float32 else ""
    text = "{" + ", ".join(number(v) + suffix for v in values) + "}"
    return "\n".join(textwrap.wrap(text, 96, initial_indent="    ", subsequent_indent="     "))


def series(fitted: tuple[list[float], float], dtype: type) -> str:
    """Return coefficients as the end of the definition of an array, with their error."""
    coefficients, error = fitted
    return f"  // error {power(error)}\n{array(coefficients, dtype)};"


def power(error: float) -> str:
    """Return an error as a power of two."""
    return f"2^{np.log2(error):.1f}"


def specialised(name: str, table: Callable[[int], tuple[np.ndarray, str]]) -> str:
    """Return the definition of a table for each size of `lookup`."""
    text = ""
    for size in SIZES:
        rows, note = table(size)
        text += f"template <>  // {note}\n"
        text += f"alignas(64) constexpr float {name}<{size}>[{len(rows)}][{size}] = {{\n"
        text += ",\n".join(array(row, np.float32) for row in rows) + "};\n"
    return text


def softplus_table(size: int) -> tuple[np.ndarray, str]:
    """2^-n softplus(n c + r) for n = 1 … 2 - size by index (n - 1) mod size, the last one e^r."""
    degree = 6
    rows = np.zeros((degree + 2, size))
    largest = 0.0
    for n in range(1, 1 - size, -1):

        def value(r: mpf, n: int = n) -> mpf:
            return exp(r) if n == 2 - size else log1p(exp(r + n * LN2_FLOAT)) * mpf(2) ** -n

        constant = float(np.float32(value(mpf(0))))
        low = float(np.float32(value(mpf(0)) - constant))
        coefficients, error = fit(
            lambda r: value(r) - constant - low,  # noqa: B023
            lambda r: 1 / value(r),
            -HALF_STEP,
            mpf("0.03") if n == 1 else HALF_STEP,
            range(1, degree + 1),
            np.float32,
        )
        rows[:, (n - 1) % size] = [low, constant, *coefficients]
        largest = max(largest, error)
    return rows, f"error {power(largest)}"


def softplus_tail(size: int) -> tuple[list[float], float]:
    """Return (ln(1 + t) / t - 1) / t for the t up to which the last entry serves."""
    low, high, terms = mpf(2) ** -40, mpf(2) ** (mpf("2.51") - size), {16: 1, 8: 3}[size]
    powers = range(1, terms + 1)
    return fit(lambda t: log1p(t) / t - 1, lambda _: 1, low, high, powers, np.float32)


def expm1_series(degree: int, dtype: type) -> tuple[list[float], float]:
    """Return (e^r - 1 - r) / r^2."""
    return fit(
        lambda r: (expm1(r) - r) / r**2,
        lambda r: abs(r * r / expm1(r)),
        -HALF_STEP,
        HALF_STEP,
        range(degree - 1),
        dtype,
    )


def expm1_of_half(degree: int) -> tuple[list[float], float]:
    """Return (e^r - 1) / r."""
    powers = range(1, degree + 1)
    return fit(expm1, lambda r: exp(-r), -HALF_STEP, HALF_STEP, powers, np.float32)


def atanh_series(degree: int) -> tuple[list[float], float]:
    """Return (2 atanh(z) / z - 2) / w, w = z^2: log1p(f) is 2 atanh(z) for z = f / (2 + f)."""
    return fit(
        lambda w: (atanh(mp.sqrt(w)) * 2 / mp.sqrt(w) - 2) / w,
        lambda w: w * mp.sqrt(w) / (2 * atanh(mp.sqrt(w))),
        mpf(2) ** -40,
        mpf("0.1112"),
        range(degree + 1),
        np.float64,
    )


def log1p_series(degree: int) -> tuple[list[float], float]:
    """Return ln(1 + t) / t."""
    return fit(
        lambda t: log1p(t) / t,
        lambda t: t / log1p(t),
        mpf(2) ** -40,
        mpf(1),
        range(degree + 1),
        np.float64,
    )


def log_cosh_series(degree: int, largest: str, dtype: type) -> tuple[list[float], float]:
    """Return ln(cosh(u/2)) / w, w = u^2: what ln((1 + e^u) / 2) lies above u/2."""
    return fit(
        lambda w: log(cosh(mp.sqrt(w) / 2)) / w,
        lambda w: w / (mp.sqrt(w) / 2 - log(cosh(mp.sqrt(w) / 2))),
        mpf(2) ** -40,
        mpf(largest),
        range(degree + 1),
        dtype,
    )


def entropy_gap(w: mpf) -> mpf:
    """Return (ln 2 - entropy(u)) / w, w = u^2: the entropy, in nats, of a coin of sigmoid(u)."""
    u = mp.sqrt(w)
    t = exp(-u)
    return (LN2 - log1p(t) - u * t / (1 + t)) / w


def entropy_gap_series(degree: int) -> tuple[list[float], float]:
    """Return (ln 2 - entropy(u)) / w, w = u^2."""
    low, high = mpf(2) ** -40, mpf("2.26")
    return fit(entropy_gap, lambda w: 1 / entropy_gap(w), low, high, range(degree + 1), np.float64)


def shortened(value: mpf, digits: int) -> mpf:
    """Return a value cut to so many binary digits."""
    scale = mpf(2) ** (digits - mp.frexp(value)[1])
    return mp.floor(value * scale) / scale


def half_table(size: int) -> tuple[np.ndarray, str]:
    """Return the table of the half types."""
    return fit_half.table(size), "no error after rounding"


def header(half_table: Callable[[int], tuple[np.ndarray, str]] = half_table) -> str:
    """Return the text of constants.h."""
    ln2_double, ln2_16, ln2_42 = mpf(float(LN2)), shortened(LN2, 16), shortened(LN2, 42)
    tails = [
        f"template <> constexpr float TAIL<{size}>[] ={series(softplus_tail(size), np.float32)}"
        for size in SIZES
    ]
    return TEXT.format(
        log2e=number(1 / LN2),
        ln2=number(ln2_double),
        ln2_rest=number(LN2 - ln2_double),
        short_double=number(ln2_42),
        short_double_rest=number(LN2 - ln2_42),
        short_single=number(ln2_16),
        short_single_rest=number(np.float32(LN2 - ln2_16)),
        ln2_float=number(LN2_FLOAT),
        ln2_float_excess=number(np.float32(LN2_FLOAT - LN2)),
        expm1_double=series(expm1_series(12, np.float64), np.float64),
        expm1_single=series(expm1_series(6, np.float32), np.float32),
        expm1_single_in_double=series(expm1_series(7, np.float64), np.float64),
        expm1_half=series(expm1_of_half(4), np.float32),
        atanh=series(atanh_series(9), np.float64),
        log1p_single=series(log1p_series(11), np.float64),
        log_cosh_single=series(log_cosh_series(5, "2.26", np.float64), np.float64),
        log_cosh=series(log_cosh_series(4, "1.57", np.float32), np.float32),
        entropy_gap=series(entropy_gap_series(12), np.float64),
        table=specialised("TABLE", softplus_table),
        tail="\n".join(tails) + "\n",
        half_table=specialised("HALF_TABLE", half_table),
        reflect_from=REFLECT_FROM,
        half_reflect_from=fit_half.REFLECT,
    )


if __name__ == "__main__":
    print(header())
