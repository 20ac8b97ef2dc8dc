"""The maths of a beta for each element, in float64 whatever the dtype, as in `ops/cpu/each.h`."""

import triton
import triton.language as tl

from softplus.ops.triton import constants
from softplus.ops.triton.exponential import (
    _LOG2E,
    FULL,
    Constant,
    _at_least,
    _at_most,
    _bits,
    _exponential,
    _magic,
    _polynomial,
    _power,
    _scaled,
    _value,
    number,
)
from softplus.ops.triton.maths import (
    _LN2,
    _log1p_of,
    _shifted_full,
    _softplus_full,
)

_EXPM1_SINGLE_IN_DOUBLE = Constant(constants.EXPM1_SINGLE_IN_DOUBLE)
_LOG1P_SINGLE = Constant(constants.LOG1P_SINGLE)
_LOG_COSH_SINGLE = Constant(constants.LOG_COSH_SINGLE)
_ENTROPY_GAP = Constant(constants.ENTROPY_GAP)


@triton.jit
def of_each(b, DIGITS: tl.constexpr):
    """Return |b| as the functions take a beta.

    One that is infinite or 0, or nearly, counts as the nearest whose products stay in range.
    """
    full: tl.constexpr = DIGITS == FULL
    size = _at_most(_at_least(tl.abs(b), number(2.0**-900, b)), number(2.0**900, b))
    inverse = 1.0 / size
    zero = number(0.0, b)
    if not full:
        return size, zero, inverse, zero, zero, zero, zero, zero
    inverse_error = -tl.fma(inverse, size, number(-1.0, b))
    # by the exponents alone, a little beyond: the results there underflow to zero
    log_size = ((_bits(size) >> 52) - 1022).to(tl.float64) * number(_LN2, b)
    of_inverse = (_bits(inverse) >> 52).to(tl.float64)
    lowest = -((of_inverse + 53.0) * number(_LN2, b) + 0.01) * inverse
    lowest_derivative = (number(-745.5, b) - _at_least(log_size, zero)) * inverse
    return size, zero, inverse, inverse_error, lowest, lowest_derivative, zero, zero


@triton.jit
def _above_zero(v):
    """e^v and ln(1 + e^v), to the digits of float32: in double that takes no low parts."""
    m = tl.fma(v, number(_LOG2E, v), _magic(v))
    r = tl.fma(m - _magic(v), number(-_LN2, v), v)
    scale = _power(m)
    q = tl.fma(r * r, _polynomial(r, _EXPM1_SINGLE_IN_DOUBLE, 6), r)
    t = tl.fma(scale, q, scale)
    return t, t * _polynomial(t, _LOG1P_SINGLE, 12)


@triton.jit
def softplus_in_double(z, beta, DIGITS: tl.constexpr):
    """softplus(z) of a positive beta, to the digits of float32 or to all."""
    if DIGITS == FULL:
        return _softplus_full(z, beta, False)
    size, _, inverse, _, _, _, _, _ = beta
    _, log = _above_zero(_at_least(-tl.abs(z * size), number(-708.0, z)))
    return tl.fma(log, inverse, tl.where(z < 0, 0.0, z))


@triton.jit
def shifted_in_double(z, beta, DIGITS: tl.constexpr):
    """softplus(z) - ln2/beta of a positive beta."""
    if DIGITS == FULL:
        return _shifted_full(z, beta)
    size, _, inverse, _, _, _, _, _ = beta
    u = z * size
    v = _at_least(-tl.abs(u), number(-708.0, z))
    w = v * v
    near = tl.fma(w, _polynomial(w, _LOG_COSH_SINGLE, 6), 0.5 * u)
    _, log = _above_zero(v)
    far = (log - number(_LN2, z)) + tl.where(u < 0, 0.0, u)
    return tl.where(v > -1.5, near, far) * inverse


@triton.jit
def derivative_of_both(x, sign, beta, SHIFTED: tl.constexpr, DIGITS: tl.constexpr):
    """Return dy/dx, dy/dbeta, d²y/dx², d²y/(dx dbeta), d²y/dbeta² of y = softplus(x).

    With a = |u|, u = beta·x, t = e^-a, and the entropy of a coin that falls on one side in a share
    of s = sigmoid(u), H = ln(1 + t) + a t / (1 + t): dy/dbeta = -H / beta², and d²y/dbeta² = (2 H +
    u² s (1 - s)) / beta³. Of the shifted form it is H - ln 2 in both.
    """
    size, size_low, inverse, _, _, lowest_derivative, _, _ = beta
    z, largest = x * sign, number(1.7976931348623157e308, x)
    if DIGITS == FULL:
        v, low = _scaled(_at_least(-tl.abs(x), lowest_derivative), size, size_low, False)
        m, q, q_low = _exponential(v, low, FULL, True)
        t = _value(m, q)
        high, low = _log1p_of(m, q, q_low)
        entropy = high + low
    else:
        v = _at_least(-tl.abs(z * size), number(-708.0, x))
        t, entropy = _above_zero(v)
    other = t / (1.0 + t)
    larger = tl.where(z < 0, t, 1.0)
    bend = tl.fma(-other, other, other)
    entropy = tl.fma(-v, other, entropy)
    if SHIFTED:  # minus ln 2, without cancellation
        w = v * v
        near = -w * _polynomial(w, _ENTROPY_GAP, 13)
        entropy = tl.where(v > -1.5, near, entropy - number(_LN2, x))
    s = tl.fma(-larger, other, larger)
    # of a tiny beta these overflow, and infinity times a gradient of 0 would be NaN
    to_beta = -_at_least(_at_most(entropy * inverse * inverse, largest), -largest)
    twice_x = bend * size * sign
    mixed = -v * bend * inverse
    mixed = tl.where(x < 0, -mixed, mixed)
    twice = tl.fma(v * v, bend, 2.0 * entropy) * inverse * inverse * inverse
    return s, to_beta, twice_x, mixed, _at_least(_at_most(twice, largest), -largest) * sign
