"""A few seconds of everything, on an installed package: `python smoke.py library` (or entry, none).

It needs torch alone, so that it runs in any environment: on a wheel, on the oldest and the newest
PyTorch. The argument is what must be live there; without one whatever is live is tested.
"""

import copy
import io
import shutil
import sys
import warnings

import torch
from torch import nn
from torch.nn import functional

import softplus
from softplus import Softplus
from softplus.ops import cpu

X = torch.linspace(-30, 30, 4001, dtype=torch.float64)
TOLERANCES = {torch.float32: 3e-7, torch.float64: 1e-14, torch.bfloat16: 4e-3, torch.float16: 5e-4}


LIVE = "none" if cpu.absent else "library" if cpu.entry_absent else "entry"


def check_what_is_live(wanted: str) -> None:
    """The library, and the entry too, or neither; without kernels one warning at first use."""
    assert wanted == LIVE, (LIVE, cpu.absent, cpu.entry_absent)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        softplus.softplus(torch.ones(2))
        softplus.softplus(torch.ones(2), 3.0)
    told = [str(warning.message) for warning in caught]
    assert len(told) == (wanted == "none"), told
    assert all("pip install" in message for message in told)


def check_values_and_gradients() -> None:
    """In every dtype, against the formula in float64."""
    for dtype, tolerance in TOLERANCES.items():
        for beta in (1.0, -2.5, 7):
            x = X.to(dtype, copy=True).requires_grad_()
            exact = x.detach().double()
            y = softplus.softplus(x, beta)
            wanted = torch.logaddexp(beta * exact, torch.zeros(())) / beta
            assert y.dtype == dtype
            assert torch.allclose(y.double(), wanted, rtol=tolerance, atol=1e-7)
            (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            wanted = torch.sigmoid(beta * exact)
            assert torch.allclose(slope.double(), wanted, rtol=2 * tolerance, atol=1e-6)
            if cpu.absent and dtype.itemsize == 2:
                continue  # PyTorch's own computes it in the half type
            (curvature,) = torch.autograd.grad(slope.sum(), x)
            wanted = beta * wanted * (1 - wanted)
            assert torch.allclose(curvature.double(), wanted, rtol=1e-2, atol=1e-3)
    assert softplus.softplus(torch.tensor(0.0)).item() == functional.softplus(torch.zeros(1)).item()
    if cpu.absent is None:  # an element's place changes nothing, threads either
        large = torch.randn(200_001)
        whole = softplus.softplus(large)
        assert torch.equal(whole[::7], softplus.softplus(large[::7]))


def check_relatives() -> None:
    """The other functions, in place and `out=`, a tensor as beta."""
    y = softplus.softplus(X)
    assert torch.allclose(softplus.inverse_softplus(y), X, atol=1e-10)
    assert softplus.softplus_(X.clone()).equal(y)
    assert softplus.softplus(X, out=torch.empty_like(X)).equal(y)
    assert softplus.shifted_softplus(torch.zeros(3)).equal(torch.zeros(3))
    assert torch.allclose(softplus.logsigmoid(X), functional.logsigmoid(X))
    beta = torch.tensor([0.5, 3.0], dtype=torch.float64, requires_grad=True)
    x = X[::100].reshape(-1, 1).clone().requires_grad_()
    assert torch.autograd.gradcheck(softplus.softplus, (x, beta))
    softplus.softplus(torch.tensor([1.0, -torch.inf]), beta[1]).sum().backward()
    assert beta.grad.isfinite().all()


def check_transforms() -> None:
    """torch.func, forward mode, export, and torch.compile where a C++ compiler is found."""
    slopes = torch.func.vmap(torch.func.grad(softplus.softplus))(X)
    assert torch.allclose(slopes, torch.sigmoid(X))
    assert torch.allclose(torch.func.jvp(softplus.softplus, (X,), (X,))[1], X * slopes)
    model = nn.Sequential(nn.Linear(3, 4), Softplus(2), nn.Linear(4, 1)).eval()
    x = torch.randn(5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, of one release or another
        exported = torch.export.export(model, (x,)).module()
        assert torch.allclose(exported(x), model(x), atol=1e-6)
        scripted = torch.jit.script(Softplus(2))
        assert torch.allclose(scripted(x), functional.softplus(x, 2.0), atol=1e-6)
        if shutil.which("c++") or shutil.which("g++"):
            compiled = torch.compile(model, fullgraph=True)
            assert torch.allclose(compiled(x), model(x), atol=1e-6)
            compiled(x).sum().backward()


def check_modules_and_tools() -> None:
    """A learnable beta trains, is copied and saved; convert and harden; patch() with the entry."""
    model = nn.Sequential(nn.Linear(3, 8), Softplus(learnable=True), nn.Linear(8, 1))
    before = model[1].beta.item()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(16, 3)).square().mean().backward()
    optimizer.step()
    assert model[1].beta.item() != before
    saved = io.BytesIO()
    torch.save(copy.deepcopy(model).state_dict(), saved)
    saved.seek(0)
    model.load_state_dict(torch.load(saved))
    relu = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    smooth = softplus.convert(relu, {"relu": Softplus(beta=10)})
    assert isinstance(smooth[1], Softplus)
    assert not any(isinstance(module, Softplus) for module in softplus.harden(smooth).modules())
    if cpu.entry_absent is None:
        with softplus.patch():
            assert functional.softplus(X.float()).equal(softplus.softplus(X.float()))


if __name__ == "__main__":
    (wanted,) = sys.argv[1:] or [LIVE]
    check_what_is_live(wanted)
    warnings.filterwarnings("error", message=".*softplus")  # PyTorch's own come and go
    check_values_and_gradients()
    check_relatives()
    check_transforms()
    check_modules_and_tools()
    print(  # noqa: T201 -- its result
        f"{LIVE}: PyTorch {torch.__version__}, Python {sys.version.split()[0]}, "
        f"{cpu.instruction_set()}: all well"
    )
