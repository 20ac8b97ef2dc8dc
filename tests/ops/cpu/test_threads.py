"""The kernels on many threads, and in a process that was forked."""

import subprocess
import sys
import threading
import time

import pytest
import torch

from calls import normal
from instruction_sets import each_dtype, each_isa
from marks import with_kernels
from references import same_bits
from results import derivatives, everything, hold_same
from softplus import softplus, softplus_

pytestmark = with_kernels


@each_isa
@each_dtype
def test_threads_and_chunks_do_not_matter(dtype):
    x = normal(32768 * 3 + 17, dtype=dtype, scale=15)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = everything(x)
        strided = everything(x[::2])
        torch.set_num_threads(2)
        hold_same(everything(x), whole)
        hold_same(everything(x[::2]), strided)
        torch.set_num_threads(3)
        hold_same(everything(x), whole)
    finally:
        torch.set_num_threads(threads)
    pieces = [everything(piece) for piece in x.split([32767, 32769, 511, 1, 32256, 17])]
    hold_same({name: torch.cat([p[name] for p in pieces]) for name in whole}, whole)
    hold_same(strided, {name: value[::2] for name, value in whole.items()})


PASSES = {
    "forward": lambda x, _: torch.ops.softplus.forward(x, 1.0, 50.0),
    "in place": lambda x, _: softplus_(x),
    "out": lambda x, y: softplus(x, out=y),
    "backward": lambda x, y: torch.ops.softplus.backward(x, y, 1.0, 50.0, True),
    "double backward": lambda x, y: torch.ops.softplus.double_backward(
        x, x, y, 1.0, 50.0, True, True
    ),
    "shifted": lambda x, _: torch.ops.softplus.shifted(x, 1.0, None),
    "inverse": lambda x, _: torch.ops.softplus.inverse(x, 1.0),
}


@pytest.mark.parametrize("run", PASSES.values(), ids=PASSES.keys())
@pytest.mark.parametrize("step", [1, 2], ids=["contiguous", "strided"])
def test_every_thread_has_its_share(run, step):
    """Of two threads the other one takes half of the work: seen in the CPU time of each.

    Half, where nothing disturbs: a machine that keeps the other thread waiting has this one spin.
    Over a tenth of a second, for a thread that runs elsewhere is accounted for every few
    milliseconds.
    """
    x, y = normal(2**20 * step).abs()[::step], torch.zeros(2**20 * step)[::step]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(x, y)  # starts the other thread
        here, everywhere = time.thread_time(), time.process_time()
        while time.thread_time() - here < 0.1:
            run(x, y)
        here, everywhere = time.thread_time() - here, time.process_time() - everywhere
    finally:
        torch.set_num_threads(threads)
    assert everywhere > 1.1 * here


@each_isa
def test_python_threads_at_once():
    x = normal(40_000).requires_grad_()
    wanted = derivatives(x)
    failures = []

    def work() -> None:
        for _ in range(20):
            got = derivatives(x)
            failures.extend(index for index in range(3) if not same_bits(got[index], wanted[index]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Of 36 MB, which malloc takes from the system and gives back to it at once: a call that still reads
# them ends in a crash.
SWAPPED = """
import contextlib, threading, torch
from softplus import inverse_softplus, shifted_softplus, softplus, softplus_

torch.set_num_threads(1)
x, y, done = torch.ones(9_000_000), torch.empty(9_000_000), threading.Event()

def swap():
    while not done.is_set():
        with contextlib.suppress(RuntimeError):  # a call keeps x
            torch.utils.swap_tensors(x, torch.ones(9_000_000))

thread = threading.Thread(target=swap)
thread.start()
for _ in range(3):
    for call in [softplus] * 6 + [shifted_softplus, inverse_softplus, softplus_]:
        call(x)
    softplus(y, out=x)
    softplus(x, out=y)
done.set()
thread.join()
"""


def test_another_thread_may_swap_the_tensor_of_a_call():
    subprocess.run([sys.executable, "-c", SWAPPED], check=True, timeout=120)


AFTER_FORK = """
import os, torch
from softplus import softplus
x = torch.linspace(-5, 5, 1001)
wanted = softplus(x)
child = os.fork()
if child == 0:
    leaf = x.clone().requires_grad_()
    softplus(leaf).sum().backward()
    os._exit(0 if torch.equal(softplus(x), wanted) and leaf.grad.isfinite().all() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="fork")
def test_after_fork():
    subprocess.run([sys.executable, "-c", AFTER_FORK], check=True, timeout=60)
