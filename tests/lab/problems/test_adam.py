"""The Adam of `softplus.lab.problems.adam`: that of torch.optim, to the bit."""

import subprocess
import sys

import torch
from torch import nn

from softplus.lab.problems.adam import Adam


def trained(make):
    """Return a small network after a few steps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1))
        model.append(nn.Linear(1, 1))  # which gets no gradient
        optimizer = make(model.parameters())
        for _ in range(5):
            optimizer.zero_grad()
            model[:3](torch.randn(20, 5)).square().mean().backward()
            optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_is_that_of_torch_to_the_bit():
    theirs = trained(lambda parameters: torch.optim.Adam(parameters, lr=1e-2, fused=True))
    assert trained(lambda parameters: Adam(parameters, lr=1e-2)).equal(theirs)


def test_it_does_not_import_what_takes_two_seconds():
    source = (
        "import sys, torch\n"
        "from softplus.lab.problems.adam import Adam\n"
        "w = torch.nn.Parameter(torch.ones(3))\n"
        "optimizer = Adam([w], lr=0.1)\n"
        "w.sum().backward()\n"
        "optimizer.step()\n"
        "assert w.max() < 1\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True)
