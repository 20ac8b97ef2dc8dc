"""The start of a Softplus network: gains, the centring shift, the mirrored orthogonal weights."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from softplus import arguments, functional, graph

_Model = TypeVar("_Model", bound=nn.Module)
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": functional.softplus,
    "shifted_softplus": functional.shifted_softplus,
}
# beta²·q of a mirrored network. At 1 its units are nearly linear and learn slowly: with 16 layers a
# nonlinear task took 75 steps at 1, 45 at 6, 33 at 25 and 28 at 100, where Softplus is almost ReLU.
_SHARPNESS = 25.0
# The spacing, in ln z, of the nodes of a Gaussian mean.
_SPACING = 0.125
_INPUTS = "the inputs"


def calculate_gain(
    nonlinearity: str,
    param: float | None = None,
    *,
    beta: float = 1.0,
    q: float = 1.0,
    mode: str = "fan_in",
) -> float:
    """Return the gain of an initialisation that keeps the scale of a Softplus network's signals.

    >>> round(calculate_gain("softplus"), 4)
    1.0419
    >>> round(calculate_gain("shifted_softplus", beta=2, q=0.25), 4)
    1.8756
    >>> round(calculate_gain("softplus", mode="fan_out"), 4)
    1.8462
    >>> calculate_gain("leaky_relu", 0.2) == nn.init.calculate_gain("leaky_relu", 0.2)
    True

    Weights of standard deviation gain/sqrt(fan) keep the variance q of the pre-activations from
    layer to layer (forward), or the variance of their gradients (backward). Softplus is not
    homogeneous as ReLU is, so the gain depends on q, by way of beta²·q alone; from infinity, where
    it is ReLU's sqrt(2), to 0, where the forward gain of plain Softplus vanishes and the others
    are 2.

    `torch.nn.init.kaiming_normal_` knows no Softplus: draw for "linear", whose gain is 1, and
    multiply by this one. A first layer, which reads no Softplus, keeps 1; biases are 0.

    >>> layer = nn.Linear(512, 512)
    >>> weight = nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    >>> weight.data *= calculate_gain("softplus")

    Args:
        nonlinearity: "softplus"; "shifted_softplus", which is less ln2/beta; or a name that
            `torch.nn.init.calculate_gain` knows, to which it then goes.
        param: That function's argument, for the other names: the slope of "leaky_relu".
        beta: The sharpness, in units of 1/input.
        q: The variance of the pre-activations, in units of input².
        mode: "fan_in" for the forward pass, q = gain²·E[f(z)²]; "fan_out" for the backward pass,
            1 = gain²·E[f'(z)²]; with z ~ N(0, q). Those of `torch.nn.init.kaiming_normal_`.

    Raises:
        TypeError: `param` is given for Softplus, whose parameter is `beta`.
        ValueError: The name or `mode` is unknown, or `beta` or `q` is out of range.

    Source: the equations of He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    if nonlinearity not in _FUNCTIONS:
        return nn.init.calculate_gain(nonlinearity, param)  # type: ignore[arg-type]  # its names
    if param is not None:
        raise TypeError(f"{nonlinearity} takes no param, got {param}: write beta={param}")
    deviation = _deviation(beta, q)
    if mode == "fan_in":
        function = _FUNCTIONS[nonlinearity]
        return 1 / math.sqrt(_gaussian_mean(lambda z: (function(deviation * z) / deviation) ** 2))
    if mode == "fan_out":
        return 1 / math.sqrt(_gaussian_mean(lambda z: torch.sigmoid(deviation * z) ** 2))
    raise ValueError(f'mode must be "fan_in" (forward) or "fan_out" (backward), got {mode!r}')


def centering(beta: float = 1.0, q: float = 1.0) -> float:
    """Return c = E[softplus(z, beta)] for z ~ N(0, q): the shift that centres a layer's outputs.

    >>> round(centering(), 4)
    0.8061
    >>> from softplus import ShiftedSoftplus
    >>> activation = ShiftedSoftplus(beta=1.0, shift=centering(beta=1.0, q=25.0))
    >>> round(activation(5 * torch.randn(100_000)).mean().abs().item(), 1)
    0.0

    Use it as `shift=` in the forward pass. Folded into the next bias, b - c·sum of the weights, it
    gives the same function at the start and worse gradients: those of the weights keep the mean.

    Args:
        beta: The sharpness, in units of 1/input.
        q: The variance of the pre-activations, in units of input²: with `looks_linear_` the one
            given there, 25/beta² by default.

    Raises:
        TypeError, ValueError: `beta` or `q` is no number or out of range.
    """
    deviation = _deviation(beta, q)
    return _gaussian_mean(lambda z: functional.softplus(deviation * z)) / beta


def looks_linear_(model: _Model, beta: float = 1.0, q: float | None = None) -> _Model:
    r"""Start a plain feed-forward network as an exact linear isometry, however deep it is.

    >>> from softplus import Softplus
    >>> hidden = [part for _ in range(63) for part in (Softplus(), nn.Linear(128, 128))]
    >>> model = nn.Sequential(nn.Linear(64, 128), *hidden, Softplus(), nn.Linear(128, 64))
    >>> x = torch.randn(10, 64)
    >>> y = looks_linear_(model)(x)
    >>> torch.allclose(y.norm(dim=1), x.norm(dim=1), rtol=1e-4)
    True

    Every hidden unit gets a mirror image, so that a layer's pre-activations are (a, -a). Since
    softplus(a) - softplus(-a) = a, weights [[V, -V], [-V, V]] pass V·a on to the next layer,
    mirrored again; with V orthogonal nothing grows or fades. This holds for every beta and shift,
    for ReLU, GELU and SiLU too, and for any function between the layers with f(a) - f(-a) = a that
    takes each element by itself; not for tanh, max-pooling, or dropout while it drops. All biases
    become 0: PyTorch's default biases would spread the singular values.

    - The first layer, [V; -V], gives pre-activations of variance q, for inputs of variance 1 each.
    - Hidden layers keep q; between equal widths their elements have He's variance, 2/width.
    - The last layer, [v, -v], undoes the scale: every singular value of the network is 1. There
      are as many as the narrowest of inputs, outputs and half widths; with half of every width, and
      outputs, no fewer than the inputs the network is an isometry. Otherwise it is one on a random
      subspace of the inputs and 0 on the rest of them, and still exactly linear.
    - The unit left over by an odd width sees a random direction, at variance q, and is not read
      by the next layer until training changes that.
    - Convolutions are delta-orthogonal: V acts at the centre of the kernel and all else is 0. They
      are isometries with stride 1 where the padding keeps the size; a centre is where the size is
      odd. A layer may follow the flattened output of a convolution.

    Args:
        model: Linear and convolution layers, each used once and after one another; the order of use
            is read off the forward pass with `torch.fx`. What follows the last layer is left alone.
        beta: The sharpness of the activations, in units of 1/input; it only sets the default of q.
        q: The variance of the pre-activations, in units of input²; None is 25/beta².

    Dtypes: any floating-point; the weights are drawn in float64, from torch's global generator.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is no module, `beta` or `q` no number.
        ValueError: `beta` or `q` is out of range, or the model cannot be mirrored: it cannot be
            traced; it has branches, a layer used twice, groups, a hidden width of 1, or parameters
            elsewhere than in linear and convolution layers and learnable betas. The model is then
            unchanged.

    Source: Balduzzi et al., The Shattered Gradients Problem, ICML 2017, for the mirrored start;
    Xiao et al., Dynamical Isometry and a Mean Field Theory of CNNs, ICML 2018, for convolutions.
    """
    arguments.check_scalar_beta(beta)
    if q is None:
        q = _SHARPNESS / beta**2
    _deviation(beta, q)
    layers = _layers_in_order_of_use(model)
    _check_layers(model, layers)
    matrices = list(_matrices([layer.weight.shape[:2] for layer in layers.values()], q))
    with torch.no_grad():
        for layer, matrix in zip(layers.values(), matrices, strict=True):
            centre = [size // 2 for size in layer.weight.shape[2:]]
            layer.weight.zero_()[(..., *centre)] = matrix.to(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()
    return model


def _deviation(beta: float, q: float) -> float:
    """Return the standard deviation of beta·x for x of variance q, having checked both."""
    arguments.check_scalar_beta(beta)
    arguments.check_variance(q)
    return abs(beta) * math.sqrt(q)


def _gaussian_mean(function: Callable[[Tensor], Tensor]) -> float:
    """Return E[function(z)] for z ~ N(0, 1), right to 14 digits for functions of Softplus.

    Such a function bends within 1/deviation of 0, however sharply, so the nodes ±z are spaced
    evenly in ln z: at each scale there are as many. In ln z the integrand is analytic up to a
    distance of pi/4 for every deviation, and the error of the trapezoidal rule is
    e^(-2·pi·(pi/4)/spacing) = 7e-18. Gauss and Hermite's nodes are spaced evenly in z: 64 of them
    give 5 digits at a deviation of 5 and 2 at 100.
    """
    z = torch.arange(-37.5, 2.5, _SPACING, dtype=torch.float64, device="cpu").exp()
    weights = _SPACING * z * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float((weights * (function(z) + function(-z))).sum())


def _layers_in_order_of_use(model: nn.Module) -> dict[str, Any]:
    """Return the linear and convolution layers by name, each reading the one before it alone."""
    layers: dict[str, Any] = {}
    before = _INPUTS
    # The latest layers that each node depends on.
    sources: dict[fx.Node, set[str]] = {}
    for node, module in graph.calls(model).items():
        found = {name for used in node.all_input_nodes for name in sources[used]}
        if node.op == "placeholder":
            found = {_INPUTS}
        elif graph.reads_no_data(node):
            found = set()
        if (isinstance(module, graph.LAYERS) or node.op == "output") and found != {before}:
            raise ValueError(
                f"{node.target!r} depends on {sorted(found)}, and not on {before!r} alone: a "
                "network with branches cannot be mirrored"
            )
        if isinstance(module, graph.LAYERS):
            name = str(node.target)
            if name in layers:
                raise ValueError(f"{node.target!r} is used twice: it cannot be mirrored")
            if any(used.target == before for used in node.all_input_nodes):
                raise ValueError(f"no activation stands between {before!r} and {node.target!r}")
            layers[name] = module
            before = name
            found = {before}
        sources[node] = found
    return layers


def _check_layers(model: nn.Module, layers: dict[str, Any]) -> None:
    if len(layers) < 2:
        raise ValueError(
            f"{type(model).__name__} has {len(layers)} linear or convolution layers: a mirrored "
            "start takes two or more"
        )
    mirrored = [layer.parameters(recurse=False) for layer in layers.values()]
    betas = [
        module.parameters() for module in model.modules() if isinstance(module, graph.ACTIVATIONS)
    ]
    known = {id(parameter) for parameters in [*mirrored, *betas] for parameter in parameters}
    for name, parameter in model.named_parameters():
        if id(parameter) not in known:
            raise ValueError(
                f"parameter {name!r} belongs to no linear or convolution layer in use: a mirrored "
                "start takes nothing else, except a learnable beta"
            )
    if len({id(layer.weight) for layer in layers.values()}) < len(layers):
        raise ValueError("two layers share a weight: they cannot be mirrored")
    for name, layer in layers.items():
        if getattr(layer, "groups", 1) > 1:
            raise ValueError(f"{name!r} has {layer.groups} groups: only 1 can be mirrored")
    for (name, layer), (next_name, reader) in pairwise(layers.items()):
        width, inputs = layer.weight.shape[0], reader.weight.shape[1]
        flattened = isinstance(reader, nn.Linear) and not isinstance(layer, nn.Linear)
        if width < 2:
            raise ValueError(f"{name!r} has width {width}: a mirrored layer takes 2 or more")
        if inputs % width or (inputs != width and not flattened):
            raise ValueError(
                f"{next_name!r} reads {inputs} inputs, which are not the {width} outputs of "
                f"{name!r}: what stands between them cannot be mirrored"
            )


def _matrices(sizes: list[tuple[int, int]], q: float) -> Iterator[Tensor]:
    """Yield the weights of layers of the sizes (outputs, inputs), in order.

    What is mirrored is a network of half the widths. The signals there lie in a subspace of `rank`
    dimensions, of which every direction has had the gain `scale`; the first columns of `frame` span
    it. Each V is orthogonal on that subspace, so their product is, whatever the widths.
    """
    width = half = rank = sizes[0][1]
    frame = torch.eye(half, dtype=torch.float64, device="cpu")
    scale, mirrored = 1.0, False
    for index, (outputs, inputs) in enumerate(sizes):
        hidden = index < len(sizes) - 1
        positions = inputs // width  # more than 1 behind a flattened convolution
        half, rank = half * positions, rank * positions
        rows = outputs // 2 if hidden else outputs
        columns = max(rank, min(rows, half))
        v = torch.zeros(rows, half, dtype=torch.float64, device="cpu")
        nn.init.orthogonal_(v[:, :columns])
        if hidden:
            next_frame = torch.linalg.qr(v[:, :rank], mode="complete").Q
        v = torch.einsum("ocp,dc->odp", v.reshape(rows, -1, positions), frame).reshape(rows, half)
        rank = min(rank, rows)
        next_scale = math.sqrt(q * rows / rank) if hidden else 1.0
        weight = v * next_scale / scale
        if hidden:
            weight = torch.cat([weight, -weight])
        if outputs > len(weight):
            direction = torch.randn(1, half, dtype=torch.float64, device="cpu")
            direction *= (1.0 if mirrored else math.sqrt(q)) / direction.norm()
            weight = torch.cat([weight, direction])
        if mirrored:
            unread = torch.zeros(outputs, inputs - 2 * half, dtype=torch.float64, device="cpu")
            weight = torch.cat([weight, -weight, unread], dim=1)
        yield weight
        width, half, frame, scale, mirrored = outputs, rows, next_frame, next_scale, True
