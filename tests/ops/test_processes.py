"""Across files and processes: pickles, weights-only files, data loaders that fork and spawn."""

import copy
import io
import pickle
import shutil
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import softplus
from calls import normal
from softplus import LogSigmoid, ShiftedSoftplus, Softplus

FUNCTIONS = [
    softplus.softplus,
    softplus.softplus_,
    softplus.inverse_softplus,
    softplus.shifted_softplus,
    softplus.logsigmoid,
]


def model() -> nn.Module:
    """Return a model with every module of the package, the same on every call."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 3),
        Softplus(2, learnable=True, num_parameters=3),
        ShiftedSoftplus(3, learnable=True),
        Softplus(10),
        LogSigmoid(),
    )


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_functions_are_pickled_by_name(function):
    assert pickle.loads(pickle.dumps(function)) is function  # noqa: S301 -- our own bytes
    assert copy.deepcopy(function) is function


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_model_is_pickled(protocol):
    module = model()
    other = pickle.loads(pickle.dumps(module, protocol))  # noqa: S301 -- our own bytes
    assert torch.equal(other(normal(5, 4)), module(normal(5, 4)))
    assert repr(other) == repr(module)


def test_results_with_a_history_are_not_copied_but_detached_ones_are():
    """As any result of autograd's."""
    y = softplus.softplus(normal(5).requires_grad_())
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(y)
    assert torch.equal(copy.deepcopy(y.detach()), y)


def test_a_state_dict_is_loaded_with_weights_only():
    module, other = model(), model()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.5)
    saved = io.BytesIO()
    torch.save(module.state_dict(), saved)
    for options in ({"weights_only": True}, {"weights_only": True, "mmap": False}, {}):
        saved.seek(0)
        other.load_state_dict(torch.load(saved, **options), strict=True)
        assert torch.equal(other(normal(5, 4)), module(normal(5, 4)))


def test_a_whole_model_is_loaded_with_weights_only_once_its_classes_are_trusted():
    module, saved = model(), io.BytesIO()
    torch.save(module, saved)
    saved.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(saved)
    saved.seek(0)
    classes = [nn.Sequential, nn.Linear, Softplus, ShiftedSoftplus, LogSigmoid, set]
    with torch.serialization.safe_globals(classes):
        other = torch.load(saved, weights_only=True)
    assert torch.equal(other(normal(5, 4)), module(normal(5, 4)))


def test_a_model_made_without_memory_is_filled_from_a_file():
    """Built on the meta device, as large models are, and assigned from a state_dict."""
    module = model()
    with torch.device("meta"):
        empty = model()
    empty.load_state_dict(module.state_dict(), assign=True)
    assert torch.equal(empty(normal(5, 4)), module(normal(5, 4)))


class Smoothed(Dataset):
    """Samples that workers compute with this package, one with gradients."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x = normal(50_000 + index).requires_grad_()
        y = softplus.softplus(x, 2.0)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        return y.detach()[-8:], gradient[-8:]


@pytest.mark.parametrize(
    "method",
    ["fork", pytest.param("spawn", marks=pytest.mark.slow)],  # which imports torch twice
)
# Python warns of any fork beside threads; torch's pools are those threads here.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_data_loaders(method):
    """After kernels ran on several threads in the parent, whose pool a fork does not inherit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        softplus.softplus(normal(200_000).requires_grad_()).sum().backward()
    finally:
        torch.set_num_threads(threads)
    dataset = Smoothed()
    loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=method)
    values, slopes = (torch.cat(parts) for parts in zip(*loader, strict=True))
    for index in range(len(dataset)):
        value, slope = dataset[index]
        assert torch.equal(values[index], value)
        assert torch.equal(slopes[index], slope)


def test_a_module_in_shared_memory():
    """As sent to a worker: the parameters are shared, not copied."""
    module = model()
    module.share_memory()
    received = pickle.loads(bytes(ForkingPickler.dumps(module)))  # noqa: S301 -- our own bytes
    with torch.no_grad():
        module[1].raw_beta.fill_(0.25)
    assert torch.equal(received[1].raw_beta, module[1].raw_beta)
    assert torch.equal(received(normal(5, 4)), module(normal(5, 4)))


def test_a_second_copy_in_one_process_is_refused(tmp_path):
    """Before its operators take the place of the first's: PyTorch keeps those for ever."""
    shutil.copytree(Path(softplus.__file__).parent, tmp_path / "softplus")
    source = (
        "import sys, softplus\n"
        "for name in [name for name in sys.modules if name.split('.')[0] == 'softplus']:\n"
        "    del sys.modules[name]\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import softplus\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: softplus is loaded already in this process")
    assert str(tmp_path) in last
    assert "Overriding a previously registered kernel" not in result.stderr
