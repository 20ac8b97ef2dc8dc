"""A pytest plugin, `-p hidden`, that hides compiled modules: SOFTPLUS_HIDDEN=entry or kernels."""

import importlib.util
import os

_find = importlib.util.find_spec
_HIDDEN = {"entry": "softplus.ops.cpu._torch_", "kernels": "softplus.ops.cpu._"}


def _found(name: str, package: str | None = None):
    """Return the specification of a module, None for what is hidden: it was not built."""
    hidden = _HIDDEN[os.environ["SOFTPLUS_HIDDEN"]]
    return None if name.startswith(hidden) else _find(name, package)


importlib.util.find_spec = _found


def pytest_configure(config) -> None:
    """Let the warning pass that there are no kernels, in whichever test it comes."""
    config.addinivalue_line("filterwarnings", "ignore:softplus runs at PyTorch's speed")
