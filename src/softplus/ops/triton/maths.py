"""The maths of the GPU kernels: Softplus, its derivatives and its inverse, on one block.

It is that of `ops/cpu/maths.h`, in the same order of operations, so that results have the same
bits; but for two things. Subnormal numbers are kept: they cost nothing on a GPU. And the forward
pass of float32 and of the half types looks nothing up: it goes by e^v and a polynomial, in about 45
operations, of which 32 lanes do one each cycle; six lookups for each element would fill the path to
the cache in bfloat16, where 90% of the bandwidth leaves 190 cycles for 1,024 elements.

Only operations that round alike everywhere are used, fma among them, and the compiler may fuse no
others: what the interpreter proves here holds on a GPU.
"""

import triton
import triton.language as tl

from softplus.ops.triton import constants

# How many digits to compute: those of the half types, of float32, or of float64; ODD are those of
# float32 that are rounded once more, to float16.
HALF, SINGLE, FULL, ODD = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)

_LOG2E = tl.constexpr(constants.LOG2E)
_LN2, _LN2_REST = tl.constexpr(constants.LN2), tl.constexpr(constants.LN2_REST)
_LN2_FLOAT = tl.constexpr(constants.LN2_FLOAT)
_LN2_FLOAT_REST = tl.constexpr(constants.LN2_FLOAT_REST)
_SHORT_DOUBLE = tl.constexpr(constants.LN2_SHORT_DOUBLE)
_SHORT_DOUBLE_REST = tl.constexpr(constants.LN2_SHORT_DOUBLE_REST)
_SHORT_SINGLE = tl.constexpr(constants.LN2_SHORT_SINGLE)
_SHORT_SINGLE_REST = tl.constexpr(constants.LN2_SHORT_SINGLE_REST)
_NEAR = tl.constexpr(constants.NEAR)
_EXPM1_DOUBLE = tl.constexpr(constants.EXPM1_DOUBLE)
_EXPM1_SINGLE = tl.constexpr(constants.EXPM1_SINGLE)
_EXPM1_SINGLE_IN_DOUBLE = tl.constexpr(constants.EXPM1_SINGLE_IN_DOUBLE)
_EXPM1_HALF = tl.constexpr(constants.EXPM1_HALF)
_ATANH = tl.constexpr(constants.ATANH)
_LOG1P_SINGLE = tl.constexpr(constants.LOG1P_SINGLE)
_LOG1P_REST = tl.constexpr(constants.LOG1P_REST)
_LOG1P_REST_HALF = tl.constexpr(constants.LOG1P_REST_HALF)
_LOG_COSH = tl.constexpr(constants.LOG_COSH)
_LOG_COSH_SINGLE = tl.constexpr(constants.LOG_COSH_SINGLE)
_ENTROPY_GAP = tl.constexpr(constants.ENTROPY_GAP)


@triton.jit
def number(value, like):
    """Return a block of one number, in the shape and type of another block."""
    return tl.full(like.shape, value, like.dtype)


@triton.jit
def _polynomial(x, c: tl.constexpr, N: tl.constexpr):
    """c[0] + c[1] x + …; a long one as two chains, its even and its odd powers."""
    if N < 8:
        p = number(c[N - 1], x)
        for i in tl.static_range(N - 2, -1, -1):
            p = tl.fma(p, x, number(c[i], x))
    else:
        square = x * x
        p = number(c[N - 1], x)
        q = number(c[N - 2], x)
        for i in tl.static_range(N - 3, -1, -2):
            p = tl.fma(p, square, number(c[i], x))
        for i in tl.static_range(N - 4, -1, -2):
            q = tl.fma(q, square, number(c[i], x))
        p = tl.fma(q, x, p) if N % 2 else tl.fma(p, x, q)
    return p


@triton.jit
def _bits(x):
    return x.to(tl.int64 if x.dtype == tl.float64 else tl.int32, bitcast=True)


@triton.jit
def _of_bits(x):
    return x.to(tl.float64 if x.dtype == tl.int64 else tl.float32, bitcast=True)


@triton.jit
def _at_least(x, least):
    """The larger one; NaN stays, which tl.maximum drops."""
    return tl.where(x < least, least, x)


@triton.jit
def _at_most(x, most):
    return tl.where(x > most, most, x)


@triton.jit
def _divide(a, b):
    """a / b rounded correctly, which of floats only div_rn does."""
    return a / b if a.dtype == tl.float64 else tl.math.div_rn(a, b)


@triton.jit
def _magic(like):
    """Added to a number it rounds it to an integer n, of which the low bits say n + BIAS then."""
    full: tl.constexpr = like.dtype == tl.float64
    return number(6755399441056767.0 if full else 12583039.0, like)


@triton.jit
def _lowest_power(like):
    """The magic number of the least n with a normal 2^n."""
    full: tl.constexpr = like.dtype == tl.float64
    return _magic(like) - (1022.0 if full else 126.0)


@triton.jit
def _power(n_and_magic):
    """2^n, for a normal one."""
    full: tl.constexpr = n_and_magic.dtype == tl.float64
    return _of_bits(_bits(n_and_magic) << (52 if full else 23))


@triton.jit
def _times_power(factor, n_and_magic):
    """factor · 2^n, for a normal result, whether or not 2^n is one."""
    return _of_bits(_bits(factor) - _bits(number(1.0, factor)) + _bits(_power(n_and_magic)))


@triton.jit
def _scaled(x, size, size_low, UNIT: tl.constexpr):
    """v = |beta|·x and what rounding left of it."""
    if UNIT:
        return x, number(0.0, x)
    v = x * size
    return v, tl.fma(x, size_low, tl.fma(x, size, -v))


# e^v = 2^n (1 + q), |q| < 0.42


@triton.jit
def _exponential(v, low, DIGITS: tl.constexpr, HAS_LOW: tl.constexpr):
    """Return n as `_magic` leaves it, q and, in float64, eight more digits of q."""
    full: tl.constexpr = v.dtype == tl.float64
    n_and_magic = tl.fma(v, number(_LOG2E, v), _magic(v))
    n = n_and_magic - _magic(v)
    high = tl.fma(n, number(-(_SHORT_DOUBLE if full else _SHORT_SINGLE), v), v)
    rest = number(-(_SHORT_DOUBLE_REST if full else _SHORT_SINGLE_REST), v)
    r_low = tl.fma(n, rest, low)
    r = high + r_low if HAS_LOW else tl.fma(n, rest, high)
    q_low = number(0.0, v)
    if DIGITS == HALF:
        q = r * _polynomial(r, _EXPM1_HALF, 4)
    elif DIGITS == SINGLE:
        q = tl.fma(r * r, _polynomial(r, _EXPM1_SINGLE, 5), r)
    else:
        p = _polynomial(r, _EXPM1_DOUBLE, 11)
        q = tl.fma(r * r, p, r)
        if HAS_LOW:
            r_low = r_low + (high - r)
            q_low = tl.fma(r * r, p, r - q) + tl.fma(r_low, q, r_low)
    return n_and_magic, q, q_low


@triton.jit
def _scale(n_and_magic):
    """2^n or, where it is no normal number, the least of those."""
    return _power(_at_least(n_and_magic, _lowest_power(n_and_magic)))


@triton.jit
def _value(n_and_magic, q):
    """e^v, subnormal ones too."""
    normal = _at_least(n_and_magic, _lowest_power(n_and_magic))
    scale = _power(normal)
    return tl.fma(scale, q, scale) * _power((n_and_magic - normal) + _magic(q))


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
    p = _polynomial(r, _EXPM1_SINGLE, 5)
    q = tl.fma(r * r, p, r)
    t = tl.fma(scale, q, scale)
    rest = t * t * _polynomial(t, _LOG1P_REST, 7)
    rest = tl.fma(t * tl.fma(scale, q, scale - t), number(-0.78, x), rest)
    rest = tl.fma(scale * r * r, p, rest)
    rest = tl.fma(scale, r, tl.fma(scale, r_low, rest))
    near = a > -_NEAR
    v, v_low = tl.where(x < 0, a, -a), tl.where(x < 0, low, -low)
    linear = tl.fma(v, number(0.5, x), number(_LN2_FLOAT, x))
    left = tl.fma(v, number(0.5, x), number(_LN2_FLOAT, x) - linear)
    left = left + number(_LN2_FLOAT_REST, x)
    if not UNIT:
        left = tl.fma(v_low, number(0.5, x), left)
    w = a * a
    left = tl.fma(tl.fma(a, a, -w), number(0.125, x), left)
    left = tl.fma(w, _polynomial(w, _LOG_COSH, 5), left)
    return tl.where(near, linear, scale), tl.where(near, left, rest), still, near


@triton.jit
def _softplus_single(x, beta, UNIT: tl.constexpr, DIGITS: tl.constexpr):
    high, low, still, near = _parts_single(x, beta, UNIT, DIGITS)
    linear = tl.where(near | ~(x > 0), 0.0, x)
    if UNIT:
        above = high + low
        y = above * still + linear
        if DIGITS == ODD:  # the last digit odd unless exact: rounding on gives what once would
            left = ((linear - y) + above) + ((high - above) + low)
            towards = tl.where(left > 0, 1, -1)
            b = _bits(y)
            y = _of_bits(tl.where((left != 0) & (b & 1 == 0), b + towards, b))
        return y
    _, _, inverse, inverse_error, _, _, _, _ = beta
    low = tl.fma(high, inverse * inverse_error, low * inverse)
    return tl.fma(high, inverse, low) * still + linear


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


# A beta for each element, in float64 whatever the dtype


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


@triton.jit
def round_to_odd(x):
    """To the 24 digits of a float, the last one odd unless exact.

    Rounding on to fewer digits then gives what rounding once would.
    """
    b = x.to(tl.int64, bitcast=True)
    rest = (1 << 29) - 1
    return ((b | ((b & rest) + rest)) & ~rest).to(tl.float64, bitcast=True)
