"""A pytest plugin, `-p interpreted`: CPU tensors count as those of a GPU.

Its kernels run in Triton's interpreter, on an installation without kernels for the CPU.
"""

import importlib
import importlib.util
import os

import torch

os.environ["SOFTPLUS_TRITON_FROM"] = "0"
torch.version.cuda = "0"  # of a PyTorch that knows GPUs
_find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.startswith("softplus.ops.cpu._") else _find(name, package)
)
from interpreting import launcher  # noqa: E402 -- after hiding
from softplus.ops import dispatch, entry, gradients, triton  # noqa: E402
from softplus.ops.triton import recorded  # noqa: E402

launch = launcher()
triton._compiled_for = lambda _: True
triton.serves = entry.served = lambda tensor: tensor.is_cpu
gradients.implementations = lambda _: launch.OPERATORS
entry._by_kernel = recorded.softplus
gradients.calls.plain_forward_each = launch.OPERATORS["forward_each"]
gradients.calls.plain_backward = launch.OPERATORS["backward"]
gradients.calls.backward_summed = lambda *_: None  # the operator, and PyTorch's sum
gradients.calls.forward_into = launch.forward_into
triton._register("CPU")
for name in ("softplus", "shifted_softplus", "inverse_softplus"):
    setattr(entry, name, getattr(entry, f"_{name}"))  # without the warning of no kernels
assert dispatch.entry is entry
