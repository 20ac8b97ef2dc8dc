"""How the operators run on DTensors: as any elementwise one, each process on its own part."""

import functools
from typing import Any

import torch

from softplus.ops.operators import FAKES


@functools.cache
def register() -> None:
    """Tell DTensor how the operators are sharded, once the first DTensor comes.

    Not before: `import softplus` would take as long again with torch.distributed.tensor.
    """
    from torch.distributed.tensor.experimental import register_sharding  # noqa: PLC0415

    for name in FAKES:
        operator = getattr(torch.ops.softplus, name).default
        results = len(operator._schema.returns)  # noqa: SLF001 -- it has no public name
        register_sharding(operator)(functools.partial(_acceptable, results))


def _acceptable(results: int, *arguments: Any) -> list[tuple[list[Any], list[Any]]]:
    """Return the placements of results and of arguments that go together.

    Every tensor has the shape of the results, but a beta of no dimensions, which is whole.
    """
    from torch.distributed.tensor import Replicate, Shard  # noqa: PLC0415

    dimensions = [getattr(argument, "ndim", None) for argument in arguments]
    most = max(ndim for ndim in dimensions if ndim is not None)
    whole = [None if ndim is None else Replicate() for ndim in dimensions]
    acceptable: list[tuple[list[Any], list[Any]]] = [([Replicate()] * results, [*whole])]
    for dimension in range(most):
        shard = Shard(dimension)
        placed = [shard if n == most else w for n, w in zip(dimensions, whole, strict=True)]
        acceptable.append(([shard] * results, [*placed]))
    return acceptable
