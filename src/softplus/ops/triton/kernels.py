"""The GPU kernels: each one pass over memory around the maths, in Triton.

Of n elements in the order of memory a program takes BLOCK; WIDE counts them in 64 bits. Inputs may
lie in ROWS of `inner` elements, each input's `step` elements apart; results are dense.

A number as beta comes as what `parameters.of` makes of it; UNIT says that it is 1 or -1, NEGATIVE
that it is below 0. REVERTS says that the threshold counts.
"""

import triton
import triton.language as tl

from softplus.ops.triton import each, exponential, maths


@triton.jit
def _elements(n, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """Return the elements of this program, and which of them there are."""
    program = tl.program_id(0).to(tl.int64) if WIDE else tl.program_id(0)
    i = program * BLOCK + tl.arange(0, BLOCK)
    return i, i < n


@triton.jit
def _load(pointer, i, here, inner, step, ROWS: tl.constexpr):
    """Return elements in the type that their kernel computes in."""
    at = (i // inner).to(tl.int64) * step + i % inner if ROWS else i
    x = tl.load(pointer + at, mask=here, other=0.0)
    return x if x.dtype == tl.float64 else x.to(tl.float32)


@triton.jit
def _store(pointer, i, here, x):
    """Store elements; doubles go to a half type in one rounding."""
    kind: tl.constexpr = pointer.dtype.element_ty
    if x.dtype == tl.float64 and kind != tl.float64:
        if kind != tl.float32:
            x = maths.round_to_odd(x)
        tl.store(pointer + i, x.to(tl.float32).to(kind), mask=here)
    else:
        tl.store(pointer + i, x.to(kind), mask=here)


@triton.jit
def _flip(x, NEGATIVE: tl.constexpr):
    return -x if NEGATIVE else x


@triton.jit
def _numbers(x, size, size_low, inverse, inverse_error, lowest, slope_lowest, bend_lowest, least):
    """Return the numbers of beta in the type of x."""
    return (
        exponential.number(size, x),
        exponential.number(size_low, x),
        exponential.number(inverse, x),
        exponential.number(inverse_error, x),
        exponential.number(lowest, x),
        exponential.number(slope_lowest, x),
        exponential.number(bend_lowest, x),
        exponential.number(least, x),
    )


@triton.jit
def _above(x, beta, threshold):
    """Where beta·x exceeds the threshold, compared as PyTorch does: in the type of x."""
    return x * exponential.number(beta, x) > exponential.number(threshold, x)


@triton.jit
def unary(
    output,
    input,
    n,
    inner,
    step,
    beta: tl.float64,
    threshold: tl.float64,
    size: tl.float64,
    size_low: tl.float64,
    inverse: tl.float64,
    inverse_error: tl.float64,
    lowest: tl.float64,
    slope_lowest: tl.float64,
    bend_lowest: tl.float64,
    least: tl.float64,
    KIND: tl.constexpr,
    UNIT: tl.constexpr,
    NEGATIVE: tl.constexpr,
    REVERTS: tl.constexpr,
    DIGITS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """x -> softplus(x), and KIND "shifted": - ln2/beta, "less": - threshold, "inverse": y -> x."""
    i, here = _elements(n, BLOCK, WIDE)
    given = _load(input, i, here, inner, step, ROWS)
    # "less" and "inverse" run in double, where nothing cancels: nobody pays them in every layer
    x = _flip(given.to(tl.float64) if KIND == "less" or KIND == "inverse" else given, NEGATIVE)
    of = _numbers(
        x, size, size_low, inverse, inverse_error, lowest, slope_lowest, bend_lowest, least
    )
    if KIND == "shifted":
        y = _flip(maths.shifted_to_zero(x, of, UNIT), NEGATIVE)
    elif KIND == "inverse":
        y = _flip(maths.inverse(x, of), NEGATIVE)
    elif KIND == "less":
        y = _flip(each.softplus_in_double(x, of, DIGITS), NEGATIVE) - exponential.number(
            threshold, x
        )
    else:
        y = _flip(maths.softplus(x, of, UNIT, DIGITS), NEGATIVE)
        if REVERTS:
            y = tl.where(_above(given, beta, threshold), given, y)
    _store(output, i, here, y)


@triton.jit
def backward(
    output,
    grad,
    saved,
    n,
    inner,
    grad_step,
    saved_step,
    beta: tl.float64,
    threshold: tl.float64,
    size: tl.float64,
    size_low: tl.float64,
    inverse: tl.float64,
    inverse_error: tl.float64,
    lowest: tl.float64,
    slope_lowest: tl.float64,
    bend_lowest: tl.float64,
    least: tl.float64,
    OF_OUTPUT: tl.constexpr,
    UNIT: tl.constexpr,
    NEGATIVE: tl.constexpr,
    REVERTS: tl.constexpr,
    DIGITS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """g, y = softplus(x) -> g·sigmoid(beta·x); without OF_OUTPUT g, x -> the same."""
    i, here = _elements(n, BLOCK, WIDE)
    g = _load(grad, i, here, inner, grad_step, ROWS)
    value = _load(saved, i, here, inner, saved_step, ROWS)
    of = _numbers(
        g, size, size_low, inverse, inverse_error, lowest, slope_lowest, bend_lowest, least
    )
    if OF_OUTPUT:
        s, _ = maths.derivative_of_output(_flip(value, NEGATIVE), of, UNIT, DIGITS)
    else:
        s, _ = maths.derivative_of_input(_flip(value, NEGATIVE), of, DIGITS)
    result = g * s
    if REVERTS:
        result = tl.where(_above(value, beta, threshold), g, result)
    _store(output, i, here, result)


@triton.jit
def double_backward(
    to_grad,
    to_saved,
    grad_grad,
    grad,
    saved,
    n,
    inner,
    grad_grad_step,
    grad_step,
    saved_step,
    beta: tl.float64,
    threshold: tl.float64,
    size: tl.float64,
    size_low: tl.float64,
    inverse: tl.float64,
    inverse_error: tl.float64,
    lowest: tl.float64,
    slope_lowest: tl.float64,
    bend_lowest: tl.float64,
    least: tl.float64,
    OF_OUTPUT: tl.constexpr,
    TO_INPUT: tl.constexpr,
    UNIT: tl.constexpr,
    NEGATIVE: tl.constexpr,
    REVERTS: tl.constexpr,
    DIGITS: tl.constexpr,
    ROWS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradients of `backward` towards g, gg·s, and towards y or x, gg·g·beta·e^(-beta·y)."""
    i, here = _elements(n, BLOCK, WIDE)
    gg = _load(grad_grad, i, here, inner, grad_grad_step, ROWS)
    g = _load(grad, i, here, inner, grad_step, ROWS)
    value = _load(saved, i, here, inner, saved_step, ROWS)
    of = _numbers(
        g, size, size_low, inverse, inverse_error, lowest, slope_lowest, bend_lowest, least
    )
    if OF_OUTPUT:
        s, bend = maths.derivative_of_output(_flip(value, NEGATIVE), of, UNIT, DIGITS)
    else:
        s, bend = maths.derivative_of_input(_flip(value, NEGATIVE), of, DIGITS)
    if UNIT and OF_OUTPUT:
        second = _flip(gg * bend * g, NEGATIVE)
    else:
        second = maths.product(gg, g, _flip(bend, NEGATIVE))
    first = gg * s
    if TO_INPUT:
        second = second * s
    if REVERTS:
        linear = _above(value, beta, threshold)
        first, second = tl.where(linear, gg, first), tl.where(linear, 0.0, second)
    _store(to_grad, i, here, first)
    _store(to_saved, i, here, second)


# A beta for each element: element i has the (i // run mod count)th of those that there are.


@triton.jit
def _beta_of(betas, i, here, run, count, ONE: tl.constexpr, DIGITS: tl.constexpr):
    """Return the sign of each element's beta, and its numbers."""
    if ONE:
        b = tl.load(betas + tl.arange(0, 1))
    else:
        b = tl.load(betas + (i // run) % count, mask=here, other=1.0)
    negative = b.to(tl.int64, bitcast=True) < 0
    return tl.where(negative, exponential.number(-1.0, b), 1.0), each.of_each(b, DIGITS)


@triton.jit
def forward_each(
    output,
    input,
    betas,
    n,
    run,
    count,
    threshold: tl.float64,
    SHIFTED: tl.constexpr,
    ONE: tl.constexpr,
    REVERTS: tl.constexpr,
    DIGITS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """x, b -> softplus(x), less ln2/b where SHIFTED."""
    i, here = _elements(n, BLOCK, WIDE)
    x = _load(input, i, here, 1, 1, False).to(tl.float64)
    sign, beta = _beta_of(betas, i, here, run, count, ONE, DIGITS)
    z = x * sign
    if SHIFTED:
        y = each.shifted_in_double(z, beta, DIGITS) * sign
    else:
        y = each.softplus_in_double(z, beta, DIGITS) * sign
        if REVERTS:
            y = tl.where(z * beta[0] > exponential.number(threshold, x), x, y)
    _store(output, i, here, y)


@triton.jit
def backward_each(
    to_input,
    to_beta,
    grad,
    input,
    betas,
    n,
    run,
    count,
    threshold: tl.float64,
    SHIFTED: tl.constexpr,
    ONE: tl.constexpr,
    REVERTS: tl.constexpr,
    DIGITS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """g, x, b -> g·sigmoid(b·x), g·dy/db."""
    i, here = _elements(n, BLOCK, WIDE)
    g = _load(grad, i, here, 1, 1, False).to(tl.float64)
    x = _load(input, i, here, 1, 1, False).to(tl.float64)
    sign, beta = _beta_of(betas, i, here, run, count, ONE, DIGITS)
    s, of_beta, _, _, _ = each.derivative_of_both(x, sign, beta, SHIFTED, DIGITS)
    first, second = g * s, g * of_beta
    if REVERTS:
        linear = x * sign * beta[0] > exponential.number(threshold, x)
        first, second = tl.where(linear, g, first), tl.where(linear, 0.0, second)
    _store(to_input, i, here, first)
    _store(to_beta, i, here, second)


@triton.jit
def double_backward_each(
    to_grad,
    to_input,
    to_beta,
    grad_to_input,
    grad_to_beta,
    grad,
    input,
    betas,
    n,
    run,
    count,
    threshold: tl.float64,
    SHIFTED: tl.constexpr,
    ONE: tl.constexpr,
    REVERTS: tl.constexpr,
    DIGITS: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradients of `backward_each` towards g, x and b, from those towards its two results."""
    i, here = _elements(n, BLOCK, WIDE)
    ggx = _load(grad_to_input, i, here, 1, 1, False).to(tl.float64)
    ggb = _load(grad_to_beta, i, here, 1, 1, False)
    g = _load(grad, i, here, 1, 1, False).to(tl.float64)
    x = _load(input, i, here, 1, 1, False).to(tl.float64)
    sign, beta = _beta_of(betas, i, here, run, count, ONE, DIGITS)
    s, of_beta, twice_x, mixed, twice_beta = each.derivative_of_both(x, sign, beta, SHIFTED, DIGITS)
    first = ggx * s + ggb * of_beta
    to_x = maths.product(ggx, g, twice_x) + maths.product(ggb, g, mixed)
    to_b = maths.product(ggx, g, mixed) + maths.product(ggb, g, twice_beta)
    if REVERTS:
        linear = x * sign * beta[0] > exponential.number(threshold, x)
        first = tl.where(linear, ggx, first)
        to_x, to_b = tl.where(linear, 0.0, to_x), tl.where(linear, 0.0, to_b)
    _store(to_grad, i, here, first)
    _store(to_input, i, here, to_x)
    _store(to_beta, i, here, to_b)
