"""A run of a model on a sample that leaves no trace: of a copy, in eval mode, without gradients."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


def trial(model: nn.Module) -> nn.Module:
    """Return the copy of a model that samples may run through."""
    return copy.deepcopy(model).eval()


@torch.no_grad()
def run(model: nn.Module, sample: Any) -> Any:
    """Return what a model makes of a sample: a tuple of arguments, a dict of them, or the one."""
    sample = _copy(sample)  # the model may write into it
    if isinstance(sample, dict):
        return model(**sample)
    return model(*sample) if isinstance(sample, tuple) else model(sample)


def _copy(sample: Any) -> Any:
    if isinstance(sample, Tensor):
        return sample.detach().clone()
    if type(sample) in (tuple, list):
        return type(sample)(map(_copy, sample))
    if type(sample) is dict:
        return {name: _copy(value) for name, value in sample.items()}
    return sample
