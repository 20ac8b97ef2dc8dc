"""The weights of a model from a file, which is read without running code."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from softplus.lab.errors import UsageError

# Where training scripts, Lightning among them, put the weights in what they save.
_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "module", "weights")
# What wrappers put before the names: Lightning modules, DistributedDataParallel, torch.compile.
_PREFIXES = ("model.", "module.", "net.", "network.", "_orig_mod.")


def load(model: nn.Module, path: Path) -> None:
    """Load the weights that a file holds into a model.

    A state_dict, or a mapping that has one under a usual name. Where the names differ from the
    model's by what a wrapper puts before them, that is taken off.

    Raises:
        UsageError: The file cannot be read as tensors alone, or does not fit the model.
    """
    weights = _weights(_read(path), path)
    expected = model.state_dict()
    for prefix in ("", *_PREFIXES):
        found = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
        if found.keys() == expected.keys():
            break
    else:
        found = dict(weights)
    if misfit := _misfit(found, expected):
        raise UsageError(f"--checkpoint {path} does not fit the model: {misfit}")
    model.load_state_dict(found)


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return importlib.import_module("safetensors.torch").load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError:
        raise UsageError(
            f"--checkpoint {path} needs safetensors: pip install safetensors"
        ) from None
    except OSError as error:
        raise UsageError(f"--checkpoint {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # pickle, zip, safetensors and torch each raise their own
        raise UsageError(
            f"--checkpoint {path} is no file of weights alone (torch.load with weights_only=True "
            "refuses it): save model.state_dict() with torch.save, and give that file"
        ) from error


def _weights(saved: Any, path: Path) -> Mapping[str, Tensor]:
    while isinstance(saved, Mapping) and not all(isinstance(v, Tensor) for v in saved.values()):
        inner = next((saved[key] for key in _KEYS if isinstance(saved.get(key), Mapping)), None)
        if inner is None:
            break
        saved = inner
    if not isinstance(saved, Mapping) or not any(isinstance(v, Tensor) for v in saved.values()):
        keys = f" with the keys {', '.join(map(str, saved))}" if isinstance(saved, Mapping) else ""
        raise UsageError(
            f"--checkpoint {path} holds no state_dict: it is a {type(saved).__name__}{keys}; known "
            f"are a state_dict, and a mapping that has one as {', '.join(_KEYS)}"
        )
    return saved


def _misfit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Return in words what differs; nothing where the weights fit."""
    parts = {
        "of the model are missing": [name for name in expected if name not in weights],
        "are unknown to the model": [name for name in weights if name not in expected],
        "have another shape": [
            f"{name}: {tuple(weights[name].shape)} for {tuple(value.shape)}"
            for name, value in expected.items()
            if name in weights and weights[name].shape != value.shape
        ],
    }
    return "; ".join(
        f"{len(names)} weights {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in parts.items()
        if names
    )
