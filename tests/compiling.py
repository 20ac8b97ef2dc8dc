"""Functions compiled in one graph for tests, with nothing left of the test before."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

quiet = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own
    pytest.mark.filterwarnings("ignore:Your compiler for AOTAutograd:UserWarning"),
    # What torch does itself, to the result that it saved.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()


def compiling(function, **options):
    """Return a function compiled in one graph, and the counter of its compilations."""
    counter = CompileCounterWithBackend("aot_eager")
    return torch.compile(function, backend=counter, fullgraph=True, **options), counter
