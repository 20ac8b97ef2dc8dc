"""What a launch hands to a GPU, on one that only lists launches: `pytest -p faked tests/gpu`."""

import copy
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif("faked" not in sys.modules, reason="only under -p faked")
faked = sys.modules.get("faked")


@pytest.fixture
def launch():
    """The module that launches, with nothing launched before."""
    faked.launches.clear()
    return faked.launcher()


def on_gpu(*shape: int, dtype: torch.dtype = torch.float32, second: bool = False) -> torch.Tensor:
    """Return numbers that lie on a GPU, as they say."""
    kind = faked.OnSecondGpu if second else faked.OnGpu
    return torch.randn(shape).to(dtype).as_subclass(kind)


def arguments_of(name: str, x: torch.Tensor) -> tuple:
    """Return what an operator is called with, tensors like x."""
    beta = torch.rand(x.shape, dtype=torch.float64).as_subclass(type(x))
    return {
        "forward": (x, 0.7, 20.0),
        "backward": (x, x, 0.7, 20.0, True),
        "double_backward": (x, x, x, 0.7, 20.0, True, True),
        "shifted": (x, 0.7, None),
        "inverse": (x, 0.7),
        "forward_each": (x, beta, 20.0, False),
        "backward_each": (x, x, beta, 20.0, False),
        "double_backward_each": (x, beta, x, x, beta, 20.0, False),
    }[name]


NAMES = ["forward", "backward", "double_backward", "shifted", "inverse"]
NAMES += ["forward_each", "backward_each", "double_backward_each"]
each_operator = pytest.mark.parametrize("name", NAMES)


@each_operator
@pytest.mark.parametrize("second", [False, True])
def test_it_is_on_the_device_of_its_tensors_and_its_stream(launch, name, second):
    x = on_gpu(5000, second=second)
    launch.OPERATORS[name](*arguments_of(name, x))
    (made,) = faked.launches
    assert (made.device, made.stream) == ((1, 1001) if second else (0, 1000))
    assert faked.current == [0]


@each_operator
def test_it_needs_no_memory_and_no_fusing_and_covers_every_element(launch, name):
    """Which a CUDA graph could not capture, and which would change bits."""
    launch.OPERATORS[name](*arguments_of(name, on_gpu(5000)))
    (made,) = faked.launches
    assert made.grid == 5  # programs of 1,024 elements
    metadata = made.metadata
    assert metadata.global_scratch_size == metadata.profile_scratch_size == 0
    assert not metadata.enable_fp_fusion
    assert metadata.num_warps == 4


def test_another_beta_compiles_nothing_anew(launch):
    x, kernels = on_gpu(5000), sys.modules["softplus.ops.triton.kernels"]
    for beta in (0.3, 0.7, 2.0, 100.0):
        launch.OPERATORS["forward"](x, beta, 20.0)
        launch.OPERATORS["backward"](x, x, beta, 20.0, True)
    assert len({id(made.metadata) for made in faked.launches}) == 2
    assert [made.arguments[5] for made in faked.launches[::2]] == [0.3, 0.7, 2.0, 100.0]
    assert kernels.unary.device_caches[0][0]


def test_numbers_come_as_doubles(launch):
    """A float32 beta would be another one."""
    kernels = sys.modules["softplus.ops.triton.kernels"]
    launch.OPERATORS["forward"](on_gpu(5000, dtype=torch.float64), 0.1, 20.0)
    for compiled in kernels.unary.device_caches[0][0].values():
        signature = compiled.src.signature
        assert {signature[name] for name in ("beta", "threshold", "inverse", "least")} == {"fp64"}


def test_the_constants_of_the_kernels_are_compared_by_identity(launch):
    """At every launch: as `tl.constexpr` that takes two thirds of the host's time in Triton 3.9.

    Triton 3.7 and earlier compare none of them.
    """
    kernels = sys.modules["softplus.ops.triton.kernels"]
    launch.OPERATORS["forward"](on_gpu(5000), 1.0, 20.0)
    kinds = {type(value).__name__ for value, _ in kernels.unary.used_global_vals.values()}
    assert kinds <= {"Constant"}
    constant = sys.modules["softplus.ops.triton.exponential"].FULL
    for copied in (copy.copy(constant), copy.deepcopy(constant)):
        assert not copied != constant  # noqa: SIM202 -- as Triton asks


def test_more_elements_than_32_bits_count_are_counted_in_64(launch):
    """The last program's too; of tensors that only say so."""
    for size, wide in ((2**31 - 2**16, False), (2**31 - 2**16 + 1, True)):
        x = on_gpu(0, dtype=torch.bfloat16)
        x.numel = lambda size=size: size
        launch.forward_into(x, x, 1.0, 20.0)
        made = faked.launches[-1]
        assert made.arguments[-2] == wide
        assert made.grid == -(-size // 2048)
