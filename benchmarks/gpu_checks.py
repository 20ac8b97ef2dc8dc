"""The checks of gpu.py: what must hold of the kernels on this GPU before a figure counts."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

import softplus
from softplus.ops import triton
from ulp import all_halves, exact, thin, worst

TINY = torch.finfo(torch.float32).tiny


def derivatives(x: Tensor, beta: float = 1.0) -> list[Tensor]:
    """Return softplus and its first two derivatives, on the CPU."""
    leaf = x.detach().requires_grad_()
    y = softplus.softplus(leaf, beta)
    (first,) = torch.autograd.grad(y, leaf, torch.ones_like(y), create_graph=True)
    (second,) = torch.autograd.grad(first, leaf, torch.ones_like(y))
    return [result.detach().cpu() for result in (y, first, second)]


def bits(x: Tensor) -> Tensor:
    """Return the elements as integers."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.detach().contiguous().view(kinds[x.element_size()])


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same bits."""
    return torch.equal(bits(a), bits(b))


def hold(name: str, value: float, bound: float) -> str:
    """Return a figure; above its bound it is an error."""
    if not value <= bound:
        raise AssertionError(f"{name}: {value:.4g}, not {bound} or less")
    return f"{name} {value:.4g}"


def accuracy_of_float32(device: str, thinning: int) -> str:
    """Hold the bounds of float32, subnormal results among them."""
    said = []
    for beta in (1.0, -1.0, 0.1, 100.0):
        x = thin()[0][::thinning] / abs(beta)
        x = x[x.isfinite()]
        y, s, curvature = exact(x, beta)
        forward, first, second = derivatives(x.to(device), beta)
        unit = abs(beta) == 1
        ordinary = y.abs() >= (0 if unit else TINY)
        said += [
            hold(
                f"beta {beta}: forward, ULP", worst(forward, y, flushed=False), 0.95 if unit else 2
            ),
            hold(
                "backward, ULP",
                worst(first[ordinary], s[ordinary], flushed=False),
                2 if unit else 3,
            ),
        ]
        inside = (x.double() * beta).abs() <= 20
        relative = ((second.double() - curvature) / curvature)[inside].abs().max().item()
        said.append(hold("double backward, relative", relative, 4e-6))
    return "; ".join(said)


def rounding_of_halves(device: str, thinning: int) -> str:
    """Hold that each of 65,536 results is rounded correctly."""
    said = []
    for dtype in (torch.bfloat16, torch.float16):
        x = all_halves(dtype)[::thinning]
        x = x[x.isfinite()]
        forward = derivatives(x.to(device))[0]
        said.append(hold(str(dtype)[6:], worst(forward, exact(x)[0], flushed=False), 0.5))
    return "; ".join(said)


def float64_above_20(device: str, _: int) -> str:
    """Hold the digits that PyTorch's threshold loses, against 20 terms of a series."""
    x = torch.linspace(20.001, 36, 10_001, dtype=torch.float64)
    t = torch.exp(-x)
    forward, first, _ = derivatives(x.to(device))
    rest = sum((-1) ** (k + 1) * t**k / k for k in range(1, 4))
    return "; ".join(
        [
            hold("forward, relative", ((forward - (x + rest)) / x).abs().max().item(), 4e-16),
            hold("backward, relative", (first - 1 / (1 + t)).abs().max().item(), 6e-16),
        ]
    )


def inverse_and_shifted(device: str, _: int) -> str:
    """Hold float32 against float64."""
    y = torch.logspace(-30, 3, 10_001, dtype=torch.float64).float()
    wide = y.double()
    wanted = torch.where(wide < 30, torch.log(torch.expm1(wide.clamp_max(30))), wide)
    got = softplus.inverse_softplus(y.to(device)).cpu()
    apart = (wide - 0.6931).abs() > 0.01  # where this reference has its digits
    x = torch.linspace(-30, 30, 10_001)
    u = x.double()
    of_shifted = torch.where(
        u.abs() < 1, torch.log1p(torch.expm1(u) / 2), exact(x)[0] - 0.6931471805599453
    )
    shifted = softplus.shifted_softplus(x.to(device)).cpu()
    return "; ".join(
        [
            hold("inverse, ULP", worst(got[apart], wanted[apart]), 2),
            hold("shifted, ULP", worst(shifted, of_shifted), 2),
        ]
    )


def tensor_betas(device: str, _: int) -> str:
    """Hold a beta for each channel against float64."""
    x = torch.randn(200, 16, device=device).mul(5).requires_grad_()
    beta = torch.rand(16, device=device).add(0.3).requires_grad_()
    got = torch.autograd.grad(softplus.softplus(x, beta).sum(), (x, beta))
    wide = [value.detach().cpu().double().requires_grad_() for value in (x, beta)]
    u = wide[0] * wide[1]
    y = (u.clamp_min(0) + torch.log1p(torch.exp(-u.abs()))) / wide[1]
    wanted = torch.autograd.grad(y.sum(), wide)
    errors = [
        ((a.cpu() - b) / b.abs().max()).abs().max().item() for a, b in zip(got, wanted, strict=True)
    ]
    return hold("both gradients, of the largest", max(errors), 1e-6)


def layouts(device: str, _: int) -> str:
    """Hold that neither layout, position nor place of the result changes a bit."""
    x = torch.randn(6, 8, 130, device=device)
    for value in (x.transpose(0, 2), x[..., :100], x[::2, 1:7], x[0, 0].expand(6, 8, 130)):
        if not same(softplus.softplus(value), softplus.softplus(value.contiguous())):
            raise AssertionError(f"other bits with strides {value.stride()}")
    if not same(softplus.softplus(x.flatten()[3:]), softplus.softplus(x).flatten()[3:]):
        raise AssertionError("other bits at another position")
    changed = x.clone()
    if not same(softplus.softplus_(changed), softplus.softplus(x)) or same(changed, x):
        raise AssertionError("other bits in place")
    return "same bits"


def compiled(device: str, _: int) -> str:
    """Hold that a compiled layer has the values and gradients of the eager one."""
    x = torch.randn(1000, device=device, requires_grad=True)
    g = torch.randn(1000, device=device)

    def layer(x: Tensor) -> Tensor:
        return softplus.softplus(x * 2, 1.5) * 3

    results = [layer(x), torch.compile(layer, fullgraph=True)(x)]
    gradients = [torch.autograd.grad(y, x, g)[0] for y in results]
    for one, other in (results, gradients):
        torch.testing.assert_close(one, other, rtol=2e-6, atol=1e-30)
    return "values and gradients agree"


def streams_and_graphs(device: str, _: int) -> str:
    """Hold that a stream gives the same, and a captured graph of three passes, which follows."""
    if device == "cpu":
        return "no streams in the interpreter"
    x, g = (torch.randn(1 << 20, device=device) for _ in range(2))
    leaf = x.clone().requires_grad_()
    aside, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()

    def passes() -> list[Tensor]:
        y = softplus.softplus(leaf)
        (first,) = torch.autograd.grad(y, leaf, g, create_graph=True)
        return [y.detach(), first.detach(), *torch.autograd.grad(first, leaf, g)]

    wanted = passes()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        on_a_stream = passes()
    aside.synchronize()
    with torch.cuda.graph(graph):
        captured = passes()
    with torch.no_grad():
        leaf.neg_()
    graph.replay()
    torch.cuda.synchronize()
    pairs = [*zip(on_a_stream, wanted, strict=True), *zip(captured, passes(), strict=True)]
    if not all(same(*pair) for pair in pairs):
        raise AssertionError("other bits")
    return "same bits"


def several_devices(device: str, _: int) -> str:
    """Hold that a tensor on another device than the current one is served there."""
    if device == "cpu" or torch.cuda.device_count() < 2:
        return "only one device here"
    x = torch.randn(1 << 20, device="cuda:1")
    if not same(softplus.softplus(x).to(device), softplus.softplus(x.to(device))):
        raise AssertionError("other bits on the second device")
    return "same bits"


def beyond_32_bits(device: str, _: int) -> str:
    """Hold that elements beyond 2^31 are reached."""
    if device == "cpu" or torch.cuda.mem_get_info()[0] < 16 << 30:
        return "not enough memory here"
    x = torch.zeros(2**31 + 4097, device=device, dtype=torch.bfloat16)
    x[-3:] = 1.0
    y = softplus.softplus(x)
    wanted = softplus.softplus(x[-4096:].clone())
    if not same(y[-4096:], wanted) or not bool((y[: 1 << 20] == y[0]).all()):
        raise AssertionError("wrong elements")
    return "right to the last"


CHECKS: list[Callable[[str, int], str]] = [
    accuracy_of_float32,
    rounding_of_halves,
    float64_above_20,
    inverse_and_shifted,
    tensor_betas,
    layouts,
    compiled,
    streams_and_graphs,
    several_devices,
    beyond_32_bits,
]


@contextmanager
def every_size() -> Iterator[None]:
    """Have the kernels serve every call."""
    before, triton.from_bytes = triton.from_bytes, 0
    try:
        yield
    finally:
        triton.from_bytes = before


def run(device: str, *, tiny: bool) -> list[dict[str, str]]:
    """Run every check, and return what it says."""
    rows = []
    for check in CHECKS:
        row = {"check": check.__name__, "result": "passed"}
        try:
            with every_size():
                row["says"] = check(device, 97 if tiny else 1)
        except Exception as error:  # noqa: BLE001 -- the others are of interest too
            row["result"] = "failed"
            row["says"] = f"{type(error).__name__}: {error}".splitlines()[0]
            row["trace"] = traceback.format_exc()
        rows.append(row)
    return rows
