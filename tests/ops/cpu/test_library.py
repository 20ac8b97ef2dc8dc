"""The library of kernels, called from Python by number on addresses, without the C++ entry."""

import math
import subprocess
import sys
import threading
import time

import pytest
import torch
from torch import Tensor

import softplus
from calls import normal
from instruction_sets import DTYPES, each_dtype, each_isa
from references import same_bits
from softplus.ops import cpu

pytestmark = pytest.mark.skipif(cpu.absent is not None, reason=f"no library: {cpu.absent}")


def run(name: str, outputs: list[Tensor], inputs: list[Tensor], **options: float) -> None:
    """Run a kernel on contiguous tensors of one dtype."""
    given = {"beta": 1.0, "threshold": 20.0, "shift": None, "flags": 0, "threads": 1, **options}
    cpu._kernels.run(
        cpu._kernels.KERNELS.index(name),
        DTYPES.index(inputs[0].dtype),
        inputs[0].numel(),
        given["beta"],
        given["threshold"],
        given["shift"],
        given["flags"],
        given.get("inner", 1),
        given.get("count", 0),
        given["threads"],
        *(tensor.data_ptr() for tensor in [*outputs, *inputs]),
    )


def forward(x: Tensor, **options: float) -> Tensor:
    """Return what the kernel of the forward pass makes."""
    y = torch.empty_like(x)
    run("forward", [y], [x], **options)
    return y


@each_isa
@each_dtype
def test_it_gives_the_bits_of_the_function(dtype):
    x = normal(1001, dtype=dtype, scale=9)
    assert same_bits(forward(x), softplus.softplus(x))
    assert same_bits(forward(x, beta=-2.5), softplus.softplus(x, -2.5))
    assert same_bits(forward(x, threshold=1.0), softplus.softplus(x, 1.0, 1.0))
    for shift in (None, 0.25):
        y = torch.empty_like(x)
        run("shifted", [y], [x], beta=3.0, shift=shift)
        assert same_bits(y, softplus.shifted_softplus(x, 3.0, shift))


@each_dtype
def test_derivatives_towards_the_output_and_the_input(dtype):
    x = normal(999, dtype=dtype)
    grad, gg = x.flip(0), x.roll(7)
    y, gx, to_grad, second = (torch.empty_like(x) for _ in range(4))
    run("forward", [y], [x], beta=2.0)
    run("backward_of_output", [gx], [grad, y], beta=2.0)
    assert same_bits(gx, torch.ops.softplus.backward(grad, y, 2.0, 20.0, True))
    for flags in (0, 1):
        run("double_backward_of_output", [to_grad, second], [gg, grad, y], beta=2.0, flags=flags)
        wanted = torch.ops.softplus.double_backward(gg, grad, y, 2.0, 20.0, True, bool(flags))
        assert same_bits(to_grad, wanted[0])
        assert same_bits(second, wanted[1])


@each_dtype
def test_threads_and_the_way_around_the_cache_change_nothing(dtype):
    x = normal(32768 * 3 + 17, dtype=dtype)
    grad, wanted = x.flip(0), torch.empty_like(x)
    run("backward_of_input", [wanted], [grad, x])
    for threads in range(1, 6):
        for flags in (0, 4):
            got = torch.zeros_like(x)
            run("backward_of_input", [got], [grad, x], threads=threads, flags=flags)
            assert same_bits(got, wanted)


def test_it_runs_on_pytorchs_own_threads():
    """Seen in CPU time, and in that no thread is started for it beside PyTorch's."""
    x, y = normal(2**20), torch.empty(2**20)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.softmax(x.view(1024, 1024), 1)  # starts PyTorch's other thread
        before = threads_of_process()
        here, everywhere = time.thread_time(), time.process_time()
        while time.thread_time() - here < 0.1:
            run("forward", [y], [x], threads=2)
        here, everywhere = time.thread_time() - here, time.process_time() - everywhere
        assert threads_of_process() == before
    finally:
        torch.set_num_threads(threads)
    assert everywhere > 1.1 * here


def threads_of_process() -> int:
    """Return the number of threads of this process, which need not be Python's."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 -- no file
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def test_other_python_threads_go_on_meanwhile():
    x, y = normal(2**24), torch.empty(2**24)
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    interval = sys.getswitchinterval()
    # Who has the GIL gives it up after a second, in which the kernel has long ended.
    sys.setswitchinterval(1)
    try:
        before = counted
        run("inverse", [y], [x])
        assert counted > before
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()


@each_isa
@each_dtype
@pytest.mark.parametrize(
    ("inner", "count"), [(1, 1), (1, 7), (1, 900), (3, 7), (600, 3), (1, 5000), (4096, 1)]
)
def test_a_beta_for_each_element(dtype, inner, count):
    """By the pattern the same bits as with all betas written out, on one thread and on two."""
    x, n = normal(5000, dtype=dtype), 5000
    grad, betas = x.flip(0), torch.linspace(0.5, 3, count, dtype=torch.float64)
    each = betas[(torch.arange(n) // inner) % count].contiguous()
    for threads in (1, 2):
        for flags in (0, 2):
            results = []
            for beta, pattern in [(betas, (inner, count)), (each, (1, n))]:
                options = {"inner": pattern[0], "count": pattern[1], "flags": flags}
                y, to_x, to_beta = torch.empty_like(x), torch.empty_like(x), torch.empty_like(each)
                run("forward_each", [y], [x, beta], threads=threads, **options)
                run("backward_each", [to_x, to_beta], [grad, x, beta], threads=threads, **options)
                results.append((y, to_x, to_beta))
            assert all(map(same_bits, *results))
    u = x.double() * each
    wanted = torch.logaddexp(u, torch.zeros(())) / each - math.log(2) / each
    assert torch.allclose(results[0][0].double(), wanted, rtol=1e-2, atol=1e-2)


def test_a_pattern_without_betas_is_an_error():
    x, beta = torch.ones(3), torch.ones(1, dtype=torch.float64)
    for inner, count in [(0, 1), (1, 0), (-1, 1)]:
        with pytest.raises(ValueError, match="inner and count must be positive"):
            run("forward_each", [x], [x, beta], inner=inner, count=count)


AFTER_FORK = """
import os, torch
from softplus.ops import cpu
run = cpu._kernels.run
x = torch.linspace(-5, 5, 100_001)
def forward(threads):
    y = torch.empty_like(x)
    run(0, 0, x.numel(), 1.0, 20.0, None, 0, 1, 0, threads, y.data_ptr(), x.data_ptr())
    return y
wanted = forward(2)
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # as a loader's worker does: torch.equal would hang on two
    os._exit(0 if torch.equal(forward(1), wanted) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_after_fork_on_one_thread_as_in_a_data_loader():
    subprocess.run([sys.executable, "-c", AFTER_FORK], check=True, timeout=60)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({0: 99}, ValueError, "no kernel 99"),
        ({1: 4}, ValueError, "no dtype 4"),
        ({3: "one"}, TypeError, "must be real number, not str"),
        ({2: 1.5}, TypeError, "cannot be interpreted as an integer"),
    ],
)
def test_arguments_that_are_none(changes, error, message):
    x = torch.ones(1)
    arguments = [0, 0, 1, 1.0, 20.0, None, 0, 1, 0, 1, x.data_ptr(), x.data_ptr()]
    for place, value in changes.items():
        arguments[place] = value
    with pytest.raises(error, match=message):
        cpu._kernels.run(*arguments)
    with pytest.raises(TypeError, match="forward takes 2 addresses, got 1"):
        cpu._kernels.run(*[0, 0, 1, 1.0, 20.0, None, 0, 1, 0, 1], x.data_ptr())
    with pytest.raises(TypeError, match="got 3 arguments"):
        cpu._kernels.run(0, 0, 1)
    assert x == 1


def test_numbers_of_python_and_beyond():
    assert forward(torch.zeros(1, dtype=torch.float64), beta=2) == math.log(2) / 2
    assert forward(torch.zeros(1), beta=True).item() == pytest.approx(math.log(2))
