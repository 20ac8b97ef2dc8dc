"""`patch()`: what it reaches, and that nothing stays behind."""

import os
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch.distributions import transforms
from torch.nn import functional
from torch.nn.functional import logsigmoid as bound_logsigmoid
from torch.nn.functional import softplus as bound_softplus

import softplus
from calls import normal
from marks import with_kernels
from patches import OPERATORS, dispatcher, in_force, nothing_stays, patched, patched_logsigmoid  # noqa: F401 -- fixtures
from softplus import patch
from softplus.ops import cpu

# What it reaches


@with_kernels
def test_it_overrides_every_cpu_kernel_of_both_functions():
    with_a_cpu_kernel = {
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith(("aten::softplus", "aten::log_sigmoid"))
        and torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
    }
    assert with_a_cpu_kernel == set(OPERATORS)
    with patch():
        for held in dispatcher():
            (live,) = [line for line in held.splitlines() if line.startswith("CPU:")]
            assert "patch.cpp" in live


@with_kernels
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_every_spelling_is_reached():
    module, log_module = nn.Softplus(), nn.LogSigmoid()
    scripted = torch.jit.script(nn.Softplus()), torch.jit.script(nn.LogSigmoid())
    traced = torch.jit.trace(nn.Softplus(), torch.zeros(3))
    with patch():
        assert patched(bound_softplus)
        assert patched(module)
        assert patched(nn.Softplus())
        assert patched(scripted[0])
        assert patched(traced)
        assert patched(torch.ops.aten.softplus)
        assert patched(torch.ops.aten.softplus.default)
        assert patched(transforms.SoftplusTransform())
        assert patched(lambda x: functional.softplus(x, out=torch.empty_like(x)))
        assert patched(lambda x: functional.softplus(x.unsqueeze(0).expand(3, 1))[1])
        assert patched_logsigmoid(bound_logsigmoid)
        assert patched_logsigmoid(log_module)
        assert patched_logsigmoid(scripted[1])
        assert patched_logsigmoid(lambda x: torch._C._nn.log_sigmoid(x, out=torch.empty_like(x)))
        assert patched_logsigmoid(
            lambda x: -functional.binary_cross_entropy_with_logits(x, torch.ones_like(x))
        )


@with_kernels
@pytest.mark.usefixtures("in_force")
def test_other_threads_are_reached():
    seen = []
    thread = threading.Thread(target=lambda: seen.extend([patched(), patched_logsigmoid()]))
    thread.start()
    thread.join()
    assert seen == [True, True]


@with_kernels
def test_modules_and_names_stay_what_they_are():
    module = nn.Softplus(beta=2, threshold=5)
    before = pickle.dumps(module), functional.softplus, functional.logsigmoid, nn.Softplus
    with patch():
        assert (pickle.dumps(module), functional.softplus, functional.logsigmoid, nn.Softplus) == (
            before
        )
        assert type(pickle.loads(before[0])) is nn.Softplus  # noqa: S301  # written above
        assert isinstance(module, nn.Softplus)
        assert not isinstance(module, softplus.Softplus)
        assert repr(module) == "Softplus(beta=2, threshold=5)"
        assert module.state_dict() == {}
        pickled = pickle.dumps(module)
    assert pickle.loads(pickled).beta == 2  # noqa: S301  # written above


# Taken back


@with_kernels
def test_patches_nest_and_overlap():
    with patch():
        with patch():
            assert patched()
        assert patched()
        first, second = patch(), patch()
        first.remove()
        assert patched()
    assert patched()
    first.remove()  # once more: not the second's
    assert patched()
    second.remove()
    assert not patched()
    with patch():
        assert patched()


@with_kernels
def test_an_exception_leaves_nothing_behind():
    def fail():
        with patch():
            assert patched()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not patched()


@with_kernels
def test_as_a_function_it_holds_until_it_is_removed():
    handle = patch()
    assert patched()
    with handle:
        assert patched()
    assert not patched()
    handle.remove()
    with pytest.raises(RuntimeError, match=r"was removed.*`with patch\(\):`"):
        handle.__enter__()
    assert not patched()


@with_kernels
def test_as_a_decorator_it_holds_while_the_function_runs():
    @patch()
    def function(depth, *, fails=False):
        """Say whether it is in force, within itself too."""
        if fails:
            raise ZeroDivisionError
        return [patched(), *(function(depth - 1) if depth else [])]

    assert not patched()
    assert function(1) == [True, True]
    assert not patched()
    with pytest.raises(ZeroDivisionError):
        function(0, fails=True)
    assert not patched()
    assert (function.__name__, function.__doc__[:3]) == ("function", "Say")


@with_kernels
def test_one_handle_removed_by_several_threads_is_removed_once():
    with patch():
        for _ in range(50):
            handle = patch()
            start = threading.Barrier(4)
            threads = [
                threading.Thread(target=lambda s=start, h=handle: (s.wait(), h.remove()))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert patched()


@with_kernels
def test_threads_patch_and_compute_at_once():
    x = normal(3000).requires_grad_()
    exact = torch.sigmoid(x.detach().double())
    wrong = []

    def work(patches: bool) -> None:
        for _ in range(150):
            if patches:
                with patch():
                    if not patched():
                        wrong.append("not in force inside the block")
            y = functional.softplus(x)
            (g,) = torch.autograd.grad(y, x, torch.ones_like(y))
            if (g.double() - exact).abs().max() > 1e-6:
                wrong.append("a wrong gradient")

    threads = [threading.Thread(target=work, args=(k < 3,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def run(source: str) -> None:
    """Run a program in a new interpreter: all goes well, without a word."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


PROGRAM = """
import os, warnings
import torch
from softplus import patch
from torch.nn.functional import softplus
x = torch.tensor(20.5, dtype=torch.float64)
"""


@with_kernels
def test_a_program_may_end_under_it():
    run(PROGRAM + "patch()\nassert softplus(x) > x")


@with_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_inherits_it():
    run(
        PROGRAM
        + """
with patch():
    child = os.fork()
    if not child:
        os._exit(0 if softplus(x) > x else 1)
    assert os.waitpid(child, 0)[1] == 0
"""
    )


@with_kernels
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_while_other_threads_patch_can_patch():
    """Of 20 such processes each hung where a lock was held without the GIL."""
    run(
        PROGRAM
        + """
import signal, threading
warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of any fork beside threads
done = threading.Event()

def work():
    while not done.is_set():
        with patch():
            pass

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
try:
    for _ in range(100):
        child = os.fork()
        if not child:
            signal.alarm(10)  # ends a child that hangs
            with patch():
                os._exit(0 if softplus(x) > x else 1)
        status = os.waitpid(child, 0)[1]
        if status:
            break
finally:
    done.set()
assert status == 0, status
"""
    )


@with_kernels
def test_pytorch_s_one_warning_about_overriding_is_kept_for_others():
    run(
        PROGRAM
        + """
with patch():
    pass
library = torch.library.Library("aten", "IMPL")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    library.impl("mish", lambda x: x, "CPU")
assert "Overriding a previously registered kernel" in str(caught[0].message), caught
"""
    )


def test_without_the_entry_it_says_so_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(cpu, "entry_absent", "not built")
    with pytest.raises(RuntimeError, match=r"C\+\+ entry.*: not built; `python -m softplus`"):
        patch()
