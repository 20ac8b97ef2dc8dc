"""The maths of the GPU kernels: Softplus, its derivatives and its inverse, on one block.

It is that of `ops/cpu/maths.h`, in the same order of operations, so that results have the same
bits; but for two things. Subnormal numbers are kept: they cost nothing on a GPU. And the forward
pass of float32 and of the half types looks nothing up: it goes by e^v and a polynomial, in 63 or 25
instructions of a GPU (tools/gpu_instructions.py); six lookups for each element would fill the path
to the cache in bfloat16, where 90% of the bandwidth leaves 190 cycles for 1,024 elements.

Only operations that round alike everywhere are used, fma among them, and the compiler may fuse no
others: what the interpreter proves here holds on a GPU.
"""

import triton
import triton.language as tl

from softplus.ops.triton import constants
from softplus.ops.triton.exponential import (
    _EXPM1_SINGLE,
    _LOG2E,
    _SHORT_DOUBLE,
    _SHORT_DOUBLE_REST,
    _SHORT_SINGLE,
    _SHORT_SINGLE_REST,
    FULL,
    HALF,
    ODD,
    SINGLE,
    Constant,
    _at_least,
    _at_most,
    _bits,
    _divide,
    _exponential,
    _magic,
    _of_bits,
    _polynomial,
    _power,
    _scale,
    _scaled,
    _times_power,
    _value,
    number,
)

_LN2, _LN2_REST = Constant(constants.LN2), Constant(constants.LN2_REST)
_LN2_FLOAT = Constant(constants.LN2_FLOAT)
_LN2_FLOAT_REST = Constant(constants.LN2_FLOAT_REST)
_NEAR = Constant(constants.NEAR)
_EXP2_HALF = Constant(constants.EXP2_HALF)
_LOG1P_HALF = Constant(constants.LOG1P_HALF)
_ATANH = Constant(constants.ATANH)
_LOG1P_REST = Constant(constants.LOG1P_REST)
_LOG1P_REST_HALF = Constant(constants.LOG1P_REST_HALF)
_LOG_COSH = Constant(constants.LOG_COSH)


# Softplus in float32, on the far side of 0 as e^v (1 - …), next to it as ln 2 + v/2 + ln cosh(v/2)


@triton.jit
def _parts_single(x, beta, UNIT: tl.constexpr, DIGITS: tl.constexpr):
    """Return high + low = ln(1 + e^-|v|), 2^k that is still to be multiplied, and |v| < NEAR.

    Where |v| < NEAR it is ln(1 + e^v) itself. Of low it is what one rounding after another leaves:
    the sum with high, rounded last, is the result.
    """
    size, size_low, _, _, lowest, _, _, least = beta
    a, low = _scaled(_at_least(-tl.abs(x), lowest), size, size_low, UNIT)
    m = tl.fma(a, number(_LOG2E, x), _magic(x))
    n = m - _magic(x)
    normal = _at_least(m, _magic(x) + least)
    scale, still = _power(normal), _power((m - normal) + _magic(x))
    if DIGITS == HALF:
        r = tl.fma(n, number(-_LN2_FLOAT, x), a)
        q = tl.fma(r * r, _polynomial(r, _EXPM1_SINGLE, 5), r)
        t = tl.fma(scale, q, scale)
        rest = tl.fma(scale, q, t * t * _polynomial(t, _LOG1P_REST_HALF, 7))
        return scale, rest, still, a > 0
    high = tl.fma(n, number(-_SHORT_SINGLE, x), a)
    r_low = tl.fma(n, number(-_SHORT_SINGLE_REST, x), low)
    r = high + r_low
    r_low = r_low + (high - r)
    square, p = r * r, _polynomial(r, _EXPM1_SINGLE, 5)
    q = tl.fma(square, p, r)
    t = tl.fma(scale, q, scale)
    left_of_t = number(-0.78, x) * tl.fma(scale, q, scale - t)
    rest = t * tl.fma(t, _polynomial(t, _LOG1P_REST, 7), left_of_t)
    rest = tl.fma(scale * square, p, rest)
    # Below scale, where ULPs are smaller, a low part as large as scale·r would be rounded by a
    # quarter of one.
    high = tl.fma(scale, tl.minimum(r, number(0.0, x)), scale)
    rest = tl.fma(scale, r_low, rest) + tl.fma(scale, r, scale - high)
    near = a > -_NEAR
    v = x if UNIT else tl.where(x < 0, a, -a)  # where it is near
    linear = tl.fma(v, number(0.5, x), number(_LN2_FLOAT, x))
    left = tl.fma(v, number(0.5, x), number(_LN2_FLOAT, x) - linear)
    left = left + number(_LN2_FLOAT_REST, x)
    if not UNIT:
        left = tl.fma(tl.where(x < 0, low, -low), number(0.5, x), left)
    w = a * a
    left = tl.fma(tl.fma(a, a, -w), number(0.125, x), left)
    left = tl.fma(w, _polynomial(w, _LOG_COSH, 5), left)
    return tl.where(near, linear, high), tl.where(near, left, rest), still, near


@triton.jit
def _softplus_single(x, beta, UNIT: tl.constexpr, DIGITS: tl.constexpr):
    high, low, still, near = _parts_single(x, beta, UNIT, DIGITS)
    linear = tl.where(near | ~(x > 0), 0.0, x)
    if UNIT:
        above = high + low
        y = tl.fma(above, still, linear)
        if DIGITS == ODD:  # the last digit odd unless exact: rounding on gives what once would
            left = ((linear - y) + above) + ((high - above) + low)
            towards = tl.where(left > 0, 1, -1)
            b = _bits(y)
            y = _of_bits(tl.where((left != 0) & (b & 1 == 0), b + towards, b))
        return y
    _, _, inverse, inverse_error, _, _, _, _ = beta
    low = tl.fma(high, inverse * inverse_error, low * inverse)
    return tl.fma(tl.fma(high, inverse, low), still, linear)


@triton.jit
def _softplus_bfloat16(x):
    """softplus(x) of a beta of 1, so that rounding to bfloat16 gives the nearest one.

    As max(0, x) + u·(ln(1 + t) / t)·2^-24, u = 2^24·t, t = e^-|x| = 2^n·2^f: u is never subnormal,
    and the last operation rounds once. It takes 21 operations, where memory leaves time for 30.
    """
    v = _at_least(-tl.abs(x), number(-104.0, x))
    magic = _magic(x) + 24.0
    m = tl.fma(v, number(_LOG2E, x), magic)
    f = tl.fma(v, number(_LOG2E, x), magic - m)
    u = tl.fma(f, _polynomial(f, _EXP2_HALF, 5), number(1.0, x)) * _power(m)
    above = _polynomial(u * number(2.0**-24, x), _LOG1P_HALF, 8)
    return tl.fma(u, above, tl.maximum(x, number(0.0, x)))


@triton.jit
def _shifted_single(x, beta, UNIT: tl.constexpr):
    """softplus(x) - ln2/beta, where near 0 it is x/2 + ln(cosh(v/2)) / beta."""
    size, _, inverse, inverse_error, _, _, _, _ = beta
    high, low, still, _ = _parts_single(x, beta, UNIT, SINGLE)
    if UNIT:
        v, ln2, ln2_low = x, number(_LN2_FLOAT, x), number(_LN2_FLOAT_REST, x)
        far = (high + (low - ln2_low)) * still
    else:
        v = x * size
        ln2 = inverse * _LN2_FLOAT
        ln2_low = tl.fma(inverse, number(_LN2_FLOAT, x), -ln2)
        ln2_low = tl.fma(inverse, number(_LN2_FLOAT_REST, x), ln2_low)
        ln2_low = tl.fma(ln2, inverse_error, ln2_low)
        low = tl.fma(high, inverse * inverse_error, low * inverse)
        far = tl.fma(high, inverse, low) * still - ln2_low
    far = far + (tl.where(x > 0, x, 0.0) - ln2)
    w = v * v
    near = tl.fma(w if UNIT else w * inverse, _polynomial(w, _LOG_COSH, 5), x * 0.5)
    return tl.where(tl.abs(v) < _NEAR, near, far)


# Softplus in float64


@triton.jit
def _log1p_gap(t):
    """t - ln(1 + t) for t in [-0.42, 1], by ln(1 + t) = 2 atanh(z), z = t / (2 + t)."""
    half_square = 0.5 * t * t
    z = t / (2.0 + t)
    w = z * z
    return tl.fma(-z, tl.fma(w, _polynomial(w, _ATANH, 10), half_square), half_square)


@triton.jit
def _log1p_rest(t, t_low):
    """ln(1 + t + t_low) - t."""
    return tl.fma(t_low, -0.5 * t, t_low) - _log1p_gap(t)


@triton.jit
def _over_beta(high, low, beta):
    """(high + low) / |beta|."""
    _, _, inverse, inverse_error, _, _, _, _ = beta
    total = high + low
    low = (high - total) + low
    y = total * inverse
    rest = tl.fma(total, inverse * inverse_error, low * inverse)
    return y + (tl.fma(total, inverse, -y) + rest)


@triton.jit
def _rest(scale, q, q_low, base, rounded):
    """What the sum `rounded` of base + scale·q left out."""
    return tl.fma(scale, q_low, tl.fma(scale, q, base - rounded))


@triton.jit
def _log1p_of(n_and_magic, q, q_low):
    """ln(1 + e^v) in two parts."""
    scale = _scale(n_and_magic)
    t = _value(n_and_magic, q)
    near_zero = scale > 0.75
    f = tl.where(near_zero, 0.5 * q, t)
    f_low = tl.where(near_zero, 0.5 * q_low, _rest(scale, q, q_low, scale, t))
    base = tl.where(near_zero, number(_LN2, q), number(0.0, q))
    high = base + f
    return high, ((base - high) + f) + _log1p_rest(f, f_low)


@triton.jit
def _above_relu(x, beta):
    """ln(1 + e^(-|beta·x|)) / |beta|: what Softplus is above max(0, x)."""
    size, size_low, inverse, inverse_error, lowest, _, _, _ = beta
    v, low = _scaled(_at_least(-tl.abs(x), lowest), size, size_low, False)
    m, q, q_low = _exponential(v, low, FULL, True)
    high, low = _log1p_of(m, q, q_low)
    y = _over_beta(high, low, beta)
    # ln(1 + t) = t there; 2^60 times too large, so that no part underflows before the sum does
    factor = _times_power(inverse * number(2.0**60, x), m)
    one = number(1.0, x) + q
    rest = ((number(1.0, x) - one) + q) + (q_low + inverse_error)
    return tl.where(v < -600.0, tl.fma(one, factor, rest * factor) * number(2.0**-60, x), y)


@triton.jit
def _softplus_full(x, beta, UNIT: tl.constexpr):
    linear = tl.where(x < 0, 0.0, x)
    if not UNIT:
        return linear + _above_relu(x, beta)
    v = _at_least(-tl.abs(x), number(-745.5, x))
    m, q, _ = _exponential(v, number(0.0, x), FULL, False)
    scale, t = _scale(m), _value(m, q)
    y = tl.where(scale < linear, linear, scale)
    y = y + (tl.where(scale < linear, scale, linear) - _log1p_gap(t))
    return tl.where(x < -700.0, t, tl.fma(scale, q, y))


@triton.jit
def softplus(x, beta, UNIT: tl.constexpr, DIGITS: tl.constexpr):
    """softplus(x) of a positive beta, which is 1 where UNIT."""
    if DIGITS == FULL:
        return _softplus_full(x, beta, UNIT)
    if DIGITS == HALF and UNIT:
        return _softplus_bfloat16(x)
    return _softplus_single(x, beta, UNIT, DIGITS)


@triton.jit
def _shifted_full(x, beta):
    """softplus(x) - ln2/beta = ln(1 + (e^v - 1) / 2) / beta, which does not cancel near 0."""
    size, size_low, inverse, inverse_error, _, _, _, _ = beta
    small = _at_least(_at_most(x, inverse), -inverse)
    v, low = _scaled(small, size, size_low, False)
    m, q, q_low = _exponential(v, low, FULL, True)
    scale = _scale(m)
    base = scale - 1.0
    expm1 = tl.fma(scale, q, base)
    expm1_low = _rest(scale, q, q_low, base, expm1)
    near = _over_beta(0.5 * expm1, _log1p_rest(0.5 * expm1, 0.5 * expm1_low), beta)
    ln2 = inverse * number(_LN2, x)
    ln2_error = tl.fma(number(_LN2, x), inverse, -ln2)
    ln2_low = tl.fma(number(_LN2, x), inverse_error, number(_LN2_REST, x)) * inverse + ln2_error
    far = (tl.where(x < 0, 0.0, x) - ln2) + (_above_relu(x, beta) - ln2_low)
    return tl.where(tl.abs(x) < inverse, near, far)


@triton.jit
def shifted_to_zero(x, beta, UNIT: tl.constexpr):
    """softplus(x) - ln2/beta of a positive beta."""
    return _shifted_full(x, beta) if x.dtype == tl.float64 else _shifted_single(x, beta, UNIT)


# Derivatives: s = sigmoid(beta·x), and what double backward multiplies with: |beta| (1 - s), or
# |beta| s (1 - s)


@triton.jit
def _weighted(n_and_magic, q, x, beta):
    """|beta| e^v, where e^v may be subnormal and this is not, or the other way about."""
    size, _, _, _, _, _, lowest_curvature, _ = beta
    full: tl.constexpr = q.dtype == tl.float64
    # so many times too large that no part is subnormal before the product is
    factor = _times_power(size * number(2.0**60 if full else 2.0**24, q), n_and_magic)
    product = tl.fma(factor, q, factor) * number(2.0**-60 if full else 2.0**-24, q)
    return tl.where(x < lowest_curvature, 0.0, product)


@triton.jit
def derivative_of_output(y, beta, UNIT: tl.constexpr, DIGITS: tl.constexpr):
    """From y = softplus(x): s = -expm1(-beta·y) and beta (1 - s)."""
    size, size_low, _, _, _, lowest_derivative, _, _ = beta
    v, low = _scaled(_at_least(-y, lowest_derivative), size, size_low, UNIT)
    m, q, _ = _exponential(v, low, DIGITS, not UNIT)
    scale = _scale(m)
    s = tl.fma(-scale, q, 1.0 - scale)
    return s, _value(m, q) if UNIT else _weighted(m, q, -y, beta)


@triton.jit
def derivative_of_input(x, beta, DIGITS: tl.constexpr):
    """From x: s and beta s (1 - s), without cancellation on either side."""
    size, size_low, _, _, _, lowest_derivative, _, _ = beta
    below = -tl.abs(x)
    v, low = _scaled(_at_least(below, lowest_derivative), size, size_low, False)
    m, q, _ = _exponential(v, low, DIGITS, True)
    t = _value(m, q)
    other = _divide(t, 1.0 + t)
    larger = tl.where(x < 0, t, 1.0)
    bend = _divide(_weighted(m, q, below, beta), (1.0 + t) * (1.0 + t))
    return tl.fma(-larger, other, larger), bend


@triton.jit
def product(a, b, c):
    """a b c; of two gradients whose product overflows, the smaller one first."""
    a_smaller = tl.abs(a) < tl.abs(b)
    return tl.where(a_smaller, a, b) * c * tl.where(a_smaller, b, a)


@triton.jit
def inverse(z, beta):
    """x = ln(e^v - 1) / |beta|, v = |beta|·z, in float64.

    ln(expm1(v)) for small v, ln(1 + 2 expm1(v - ln2)) around the zero at ln 2, v + ln(1 - e^-v) for
    large v. Each logarithm is that of 1 + f + f_low, times 2^k.
    """
    size, size_low, _, _, _, _, _, _ = beta
    v, low = _scaled(z, size, size_low, False)
    low = tl.where(v < 40.0, low, 0.0)
    large, small = v > 1.0, v < 0.46
    from_ln2, from_ln2_low = v - number(_LN2, z), low - number(_LN2_REST, z)
    around = from_ln2 + from_ln2_low
    a = tl.where(large, _at_least(-v, number(-700.0, z)), tl.where(small, v, around))
    a_low = tl.where(large, -low, tl.where(small, low, (from_ln2 - around) + from_ln2_low))
    m, q, q_low = _exponential(a, a_low, FULL, True)
    scale = _scale(m)
    base = scale - tl.where(large, number(0.0, z), number(1.0, z))
    e = tl.fma(scale, q, base)
    e_low = _rest(scale, q, q_low, base, e)
    # small v: e = 2^k (1 + f), scaled up by 2^54 from where it may be subnormal
    tiny = e < number(2.0**-960, z)
    normal = tl.where(tiny, e * number(2.0**54, z), e)
    exponent = (_bits(normal) - _bits(number(0.7071067811865476, z))) >> 52
    k = exponent.to(tl.float64) - tl.where(tiny, number(54.0, z), number(0.0, z))
    k = tl.where(small, k, 0.0)
    f = _of_bits(_bits(normal) - (exponent << 52)) - 1.0
    f = tl.where(large, -e, tl.where(small, f, 2.0 * e))
    relative = e_low / tl.where(large, e - 1.0, tl.where(small, e, 0.5 + e))  # f_low / (1 + f)
    exact = k * number(_SHORT_DOUBLE, z)
    high = exact + f
    rest = tl.fma(k, number(_SHORT_DOUBLE_REST, z), relative) - _log1p_gap(f)
    x = tl.where(large, z, 0.0) + _over_beta(high, ((exact - high) + f) + rest, beta)
    x = tl.where(z <= 0, tl.where(z < 0, float("nan"), float("-inf")), x)
    return tl.where(z == float("inf"), z, x)


@triton.jit
def round_to_odd(x):
    """To the 24 digits of a float, the last one odd unless exact.

    Rounding on to fewer digits then gives what rounding once would.
    """
    b = x.to(tl.int64, bitcast=True)
    rest = (1 << 29) - 1
    return ((b | ((b & rest) + rest)) & ~rest).to(tl.float64, bitcast=True)
