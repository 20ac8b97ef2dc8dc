"""Prints `ops/cpu/constants.h`, the constants of the kernels, as C++ (needs numpy, scipy, mpmath).

    python tools/constants.py > src/softplus/ops/cpu/constants.h

A test holds that file to what this prints.
"""

import textwrap
from collections.abc import Iterable
from functools import cache

import fit_half
import fit_segments
import numpy as np
from fit import fit
from mpmath import atanh, cosh, exp, expm1, log, log1p, mp, mpf

mp.prec = 200
LN2 = log(2)
LN2_FLOAT = mpf(float(np.float32(LN2)))
HALF_STEP = LN2 / 2 * mpf("1.0005")  # |r|, with room for the rounding of n

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
// ln 2 as a float
constexpr float LN2_FLOAT = {ln2_float}f;

// `error`: the largest that a polynomial makes, unrounded, relative to the finished result.

// (e^r - 1 - r) / r^2 for |r| <= ln2/2, and (e^r - 1) / r for the half types
constexpr double EXPM1_DOUBLE[] ={expm1_double}
constexpr float EXPM1_SINGLE[] ={expm1_single}
constexpr double EXPM1_SINGLE_IN_DOUBLE[] ={expm1_single_in_double}
constexpr float EXPM1_HALF[] ={expm1_half}

// The same for |r| <= ln2/16
constexpr float EXPM1_EIGHTH[] ={expm1_eighth}
// 2^(j/8) e^d for j < 8, twice, as a float whose bits lack j in the place of eighths of an exponent;
// and the d with which it is nearly a float
alignas(64) constexpr float EIGHTHS[16] ={eighths};
alignas(64) constexpr float EIGHTHS_CENTRES[16] ={eighths_centres};
// ln 2 / 8 in two parts, whose first times up to 2048 is exact
constexpr float LN2_EIGHTH_SHORT = {short_eighth}f, LN2_EIGHTH_SHORT_REST = {short_eighth_rest}f;

// (2 atanh(z) / z - 2) / w, w = z^2, for z up to 1/3
constexpr double ATANH[] ={atanh}

// ln(1 + t) / t for t up to 1, to the digits of float32
constexpr double LOG1P_SINGLE[] ={log1p_single}
// The same as floats
constexpr float LOG1P_FLOAT[] ={log1p_float}

// ln(cosh(u/2)) / w, w = u^2, for |u| up to 1.5, to the digits of float32
constexpr double LOG_COSH_SINGLE[] ={log_cosh_single}
// The same as floats, for |u| up to 1.25
constexpr float LOG_COSH[] ={log_cosh}

// (ln 2 - entropy(u)) / w, w = u^2, for |u| up to 1.5
constexpr double ENTROPY_GAP[] ={entropy_gap}
// The same as floats
constexpr float ENTROPY_GAP_FLOAT[] ={entropy_gap_float}

// ln(1 + e^-a) for a up to 7.5: for each integer next to a the row of a centre v near it where the
// result is nearly a double, that result, and the coefficients of a - v, …
alignas(128) constexpr double DOUBLE_SEGMENTS[8][16] = {{{double_segments}

// The forward of float32: softplus on segments of width 1/2 in |x|, by polynomials in r = |x| - centre
// that are looked up. `python tools/fit_segments.py` goes through all floats for their largest errors.
// Rows: the centre; the coefficients of r^5, r^4, r^3, r^2, which serve both signs of x; those of
// r and 1 for x < 0, to which 1 and the centre are added for x > 0.
{segments}
// The forward of the half types: what Softplus lies above max(0, x), on segments of |x| of 1/2.75, as
// polynomials of degree 3 in |x|, so that all 65,536 results of either type round correctly. Rows:
// the coefficients from the highest on.
{half_table}
constexpr float HALF_SEGMENTS_IN_A_UNIT = {half_in_a_unit}f;

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


def rows(name: str, table: np.ndarray) -> str:
    """Return the definition of a table."""
    lines = ",\n".join(array(row, np.float32) for row in table)
    return f"alignas(64) constexpr float {name}[{len(table)}][{len(table[0])}] = {{\n{lines}}};\n"


def double_segments() -> str:
    """Return the end of the definition of DOUBLE_SEGMENTS."""
    rows, largest = [], 0.0
    for i in range(8):
        low, high = max(i - mpf("0.5001"), mpf(0)), i + mpf("0.5001")
        centre, value = accurate_centre(max(mpf(i), mpf("0.25")))
        coefficients, error = fit(
            cache(lambda r: log1p(exp(-centre - r)) - value),  # noqa: B023
            cache(lambda r: 1 / log1p(exp(-centre - r))),  # noqa: B023
            low - centre,
            high - centre,
            range(1, 15),
            np.float64,
        )
        rows.append([float(centre), value, *coefficients])
        largest = max(largest, error)
    return (
        f"  // error {power(largest)}\n" + ",\n".join(array(row, np.float64) for row in rows) + "};"
    )


def accurate_centre(near: mpf) -> tuple[mpf, float]:
    """Return the multiple of 2^-24 near a number at which ln(1 + e^-v) is closest to a double."""
    values = {v: log1p(exp(-v)) for v in (near + mpf(k) / 2**24 for k in range(-500, 501))}
    centre = min(values, key=lambda v: abs(float(values[v]) / values[v] - 1))
    return centre, float(values[centre])


def eighths() -> tuple[list[float], list[float]]:
    """Return 2^(j/8) e^d by j, its bits less j in the place of eighths of an exponent, and d.

    d is a multiple of 2^-28, so that the float r - d is exact. ln 2 is that of a float, and what it
    lacks is made good for the last eighths below 1, where 1 - e^-y is small.
    """
    powers, centres = [], []
    for j in range(8):
        centres_near = (mpf(k) / 2**28 for k in range(-700, 701))
        values = {d: 2 * exp((j - 8) * LN2_FLOAT / 8 + d) for d in centres_near}

        def error(d: mpf, values: dict = values) -> float:
            return abs(float(np.float32(values[d])) / values[d] - 1)

        d = min(values, key=error) if j else mpf(0)
        bits = np.float32(values[d] if j else 1).view(np.int32) - np.int32(j << 20)
        powers.append(float(bits.view(np.float32)))
        centres.append(float(d))
    return powers * 2, centres * 2


def expm1_eighth_series() -> tuple[list[float], float]:
    """Return (e^r - 1 - r) / r^2 for the r that the eighths leave."""
    high = LN2 / 16 * mpf("1.001")

    def weight(r: mpf) -> mpf:
        return abs(r * r / expm1(r))

    return fit(lambda r: (expm1(r) - r) / r**2, weight, -high, high, range(3), np.float32)


def expm1_over_r(degree: int) -> tuple[list[float], float]:
    """Return (e^r - 1) / r."""
    powers = range(1, degree + 1)
    return fit(expm1, lambda r: exp(-r), -HALF_STEP, HALF_STEP, powers, np.float32)


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


def log1p_series(degree: int, dtype: type) -> tuple[list[float], float]:
    """Return ln(1 + t) / t."""
    return fit(
        lambda t: log1p(t) / t,
        lambda t: t / log1p(t),
        mpf(2) ** -40,
        mpf(1),
        range(degree + 1),
        dtype,
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


def entropy_gap_series(degree: int, dtype: type) -> tuple[list[float], float]:
    """Return (ln 2 - entropy(u)) / w, w = u^2."""
    low, high = mpf(2) ** -40, mpf("2.26")
    return fit(entropy_gap, lambda w: 1 / entropy_gap(w), low, high, range(degree + 1), dtype)


def shortened(value: mpf, digits: int) -> mpf:
    """Return a value cut to so many binary digits."""
    scale = mpf(2) ** (digits - mp.frexp(value)[1])
    return mp.floor(value * scale) / scale


def header() -> str:
    """Return the text of constants.h."""
    ln2_double = mpf(float(LN2))
    ln2_13, ln2_16, ln2_42 = (shortened(LN2, digits) for digits in (13, 16, 42))
    powers, centres = eighths()
    return TEXT.format(
        log2e=number(1 / LN2),
        ln2=number(ln2_double),
        ln2_rest=number(LN2 - ln2_double),
        short_double=number(ln2_42),
        short_double_rest=number(LN2 - ln2_42),
        short_single=number(ln2_16),
        short_single_rest=number(np.float32(LN2 - ln2_16)),
        ln2_float=number(LN2_FLOAT),
        short_eighth=number(ln2_13 / 8),
        short_eighth_rest=number(np.float32((LN2 - ln2_13) / 8)),
        expm1_double=series(expm1_series(12, np.float64), np.float64),
        expm1_single=series(expm1_series(6, np.float32), np.float32),
        expm1_single_in_double=series(expm1_series(7, np.float64), np.float64),
        expm1_eighth=series(expm1_eighth_series(), np.float32),
        eighths="\n" + array(powers, np.float32),
        eighths_centres="\n" + array(centres, np.float32),
        expm1_half=series(expm1_over_r(4), np.float32),
        atanh=series(atanh_series(9), np.float64),
        log1p_single=series(log1p_series(11, np.float64), np.float64),
        log1p_float=series(log1p_series(9, np.float32), np.float32),
        log_cosh_single=series(log_cosh_series(5, "2.26", np.float64), np.float64),
        log_cosh=series(log_cosh_series(4, "1.57", np.float32), np.float32),
        entropy_gap=series(entropy_gap_series(12, np.float64), np.float64),
        entropy_gap_float=series(entropy_gap_series(6, np.float32), np.float32),
        double_segments=double_segments(),
        segments=rows("SEGMENTS", fit_segments.table()),
        half_table=rows("HALF_SEGMENTS", fit_half.table()).rstrip(),
        half_in_a_unit=fit_half.IN_A_UNIT,
    )


if __name__ == "__main__":
    print(header())
