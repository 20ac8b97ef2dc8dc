"""A script that computes ReLU in every way there is, and prints the ways that are not Softplus."""

import sys
import threading
import warnings

import torch
from torch import nn, relu, relu_
from torch.func import grad, hessian, jvp, vmap
from torch.nn import functional as F  # noqa: N812 -- the spelling that models use
from torch.nn.functional import relu as bound_relu
from torch.nn.functional import relu_ as bound_relu_

warnings.simplefilter("ignore")  # TorchScript is deprecated, and counts

X = torch.tensor([[-1.5, -0.3, 0.2, 2.0], [0.1, -0.4, 3.0, -2.0]])
Y, SLOPE = F.softplus(X), torch.sigmoid(X)


class Deep(nn.Module):
    """Deep enough for TorchScript to derive it by itself."""

    def forward(self, x):
        for _ in range(8):
            x = torch.relu(x * 1.1 + 0.1)
        return x


class Activated(nn.Module):
    """Holds a ReLU that works in place."""

    def __init__(self):
        super().__init__()
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.activation(x.clone())


class OwnReLU(nn.ReLU):
    """A subclass."""


def softplus_of_depth(x):
    for _ in range(8):
        x = F.softplus(x * 1.1 + 0.1)
    return x


def by_autograd(function, x=X):
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(x).sum(), x)
    return gradient


def in_inference_mode(function):
    with torch.inference_mode():
        return function(X.clone())


def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function(X)))
    thread.start()
    thread.join()
    return found[0]


def of_rnn():
    rnn = nn.RNN(4, 4, nonlinearity="relu")
    (w, v), (b, c) = rnn.all_weights[0][:2], rnn.all_weights[0][2:]
    first = F.softplus(X[:1] @ w.T + b + c)
    return rnn(X)[0] - torch.cat([first, F.softplus(X[1:] @ w.T + b + first @ v.T + c)])


def of_transformer():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    with torch.no_grad():
        x = layer.norm1(X[None] + layer.self_attn(X[None], X[None], X[None])[0])
        y = layer.linear2(F.softplus(layer.linear1(x)))
        return layer(X[None]) - layer.norm2(x + y)


def of_script(model):
    for _ in range(3):  # it optimizes by and by
        model(X.clone().requires_grad_())
    return by_autograd(model)


WAYS = {
    "nn.ReLU": lambda: nn.ReLU()(X) - Y,
    "nn.ReLU in place": lambda: Activated()(X) - Y,
    "a subclass of nn.ReLU": lambda: OwnReLU()(X) - Y,
    "F.relu": lambda: F.relu(X) - Y,
    "F.relu in place": lambda: F.relu(X.clone(), inplace=True) - Y,
    "F.relu_": lambda: F.relu_(X.clone()) - Y,
    "torch.relu": lambda: torch.relu(X) - Y,
    "torch.relu_": lambda: torch.relu_(X.clone()) - Y,
    "x.relu()": lambda: X.relu() - Y,
    "x.relu_()": lambda: X.clone().relu_() - Y,
    "from torch import relu": lambda: relu(X) - Y,
    "from torch import relu_": lambda: relu_(X.clone()) - Y,
    "from torch.nn.functional import relu": lambda: bound_relu(X) - Y,
    "from torch.nn.functional import relu_": lambda: bound_relu_(X.clone()) - Y,
    "torch.ops": lambda: torch.ops.aten.relu(X) - Y,
    "float64": lambda: torch.relu(X.double()) - F.softplus(X.double()),
    "bfloat16": lambda: torch.relu(X.bfloat16()) - F.softplus(X.bfloat16()),
    "the gradient": lambda: by_autograd(torch.relu) - SLOPE,
    "the gradient in place": lambda: by_autograd(lambda x: F.relu(x * 1, inplace=True)) - SLOPE,
    "a view in place": lambda: by_autograd(lambda x: (x * 1)[:, :2].relu_())[:, :2] - SLOPE[:, :2],
    "grad": lambda: grad(lambda x: torch.relu(x).sum())(X) - SLOPE,
    "vmap": lambda: vmap(lambda x: x.clone().relu_())(X) - Y,
    "jvp": lambda: jvp(F.relu, (X,), (torch.ones_like(X),))[1] - SLOPE,
    "hessian": lambda: (
        hessian(lambda x: F.relu(x).sum())(X[0]).diagonal() - SLOPE[0] * (1 - SLOPE[0])
    ),
    "inference mode": lambda: in_inference_mode(torch.relu) - Y,
    "inference mode in place": lambda: in_inference_mode(torch.relu_) - Y,
    "a thread": lambda: in_thread(torch.relu) - Y,
    "nn.RNN": of_rnn,
    "a transformer's fast path": of_transformer,
    "torch.fx": lambda: torch.fx.symbolic_trace(Activated())(X) - Y,
    "torch.jit.script": lambda: (
        of_script(torch.jit.script(Deep())) - by_autograd(softplus_of_depth)
    ),
    "torch.jit.trace": lambda: (
        of_script(torch.jit.trace(Deep(), X)) - by_autograd(softplus_of_depth)
    ),
    "TorchScript in a thread": lambda: (
        in_thread(lambda _: of_script(torch.jit.script(Deep()))) - by_autograd(softplus_of_depth)
    ),
    "torch.export": lambda: torch.export.export(Activated(), (X,)).module()(X) - Y,
    # What is no ReLU stays.
    "clamp": lambda: X.clamp(min=0) - X * (X > 0),
    "ReLU6": lambda: nn.ReLU6()(X) - X * (X > 0),
    "LeakyReLU": lambda: F.leaky_relu(X, 0.5) - torch.where(X > 0, X, X / 2),
}
COMPILED = {
    "compiled": lambda: by_autograd(torch.compile(torch.relu)) - SLOPE,
    "compiled method": lambda: by_autograd(torch.compile(lambda x: x.relu() * 1)) - SLOPE,
    "compiled module": lambda: torch.compile(Activated())(X) - Y,
    "compiled in inference mode": lambda: in_inference_mode(torch.compile(F.relu)) - Y,
    "compiled without grad": lambda: torch.no_grad()(torch.compile(nn.ReLU()))(X) - Y,
}

if __name__ == "__main__":
    for name, difference in (COMPILED if sys.argv[1:] == ["compiled"] else WAYS).items():
        largest = difference().abs().max().item()
        if not largest < 1e-5:
            print(f"{name}: {largest}")
