"""e^v for the GPU kernels, and what every formula is made of: bits, powers of two, polynomials."""

import triton
import triton.language as tl

from softplus.ops.triton import constants


class Constant(tl.constexpr):
    """A number or numbers of the kernels, which nobody changes.

    At every launch Triton 3.9 compares each with a copy of itself, which takes 0.65 microseconds
    for a tl.constexpr: for our 34, two thirds of what a launch costs the host. This one is no copy.
    """

    def __ne__(self, other):
        return self is not other

    def __copy__(self):
        return self

    def __deepcopy__(self, _):
        return self


# How many digits to compute: those of the half types, of float32, or of float64; ODD are those of
# float32 that are rounded once more, to float16.
HALF, SINGLE, FULL, ODD = Constant(0), Constant(1), Constant(2), Constant(3)

_LOG2E = Constant(constants.LOG2E)
_SHORT_DOUBLE = Constant(constants.LN2_SHORT_DOUBLE)
_SHORT_DOUBLE_REST = Constant(constants.LN2_SHORT_DOUBLE_REST)
_SHORT_SINGLE = Constant(constants.LN2_SHORT_SINGLE)
_SHORT_SINGLE_REST = Constant(constants.LN2_SHORT_SINGLE_REST)
_EXPM1_DOUBLE = Constant(constants.EXPM1_DOUBLE)
_EXPM1_SINGLE = Constant(constants.EXPM1_SINGLE)
_EXPM1_HALF = Constant(constants.EXPM1_HALF)


@triton.jit
def number(value, like):
    """Return a block of one number, in the shape and type of another block."""
    return tl.full(like.shape, value, like.dtype)


@triton.jit
def _polynomial(x, c: tl.constexpr, N: tl.constexpr):
    """c[0] + c[1] x + …; a long one as two chains, its even and its odd powers."""
    if N <= 8:
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
    """The larger one; NaN stays. Of floats that is one instruction in place of two."""
    if x.dtype == tl.float32:
        return tl.maximum(x, least, propagate_nan=tl.PropagateNan.ALL)
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
        p = _polynomial(r, _EXPM1_SINGLE, 5)
        q = r + tl.fma(r * r, p, r_low + (high - r)) if HAS_LOW else tl.fma(r * r, p, r)
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
