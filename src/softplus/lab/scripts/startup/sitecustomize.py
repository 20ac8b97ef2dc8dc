"""Runs as each Python of a trial starts: seeds the generators, swaps ReLU as torch is imported.

Python imports `sitecustomize` before the script. Nothing is imported here that the script would
not import itself, so that a trial starts as fast as the bare script, and a Python without torch
stays as it is.
"""

from __future__ import annotations  # this may be any Python that the script starts

import importlib.machinery
import os
import sys

TYPE_CHECKING = False  # typing's own would be loaded for it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Imports:
    """A finder that runs a function on a module as soon as it has been imported."""

    def __init__(self, then: dict[str, Callable[[Any], None]]) -> None:
        self.then = then
        for name in [name for name in then if name in sys.modules]:
            then[name](sys.modules[name])

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec that the other finders have, of which the loader goes on to ours."""
        if name not in self.then:
            return None
        others = (each for each in sys.meta_path if each is not self)
        specs = (each.find_spec(name, path, target) for each in others)
        spec: Any = next((each for each in specs if each is not None), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_go_on(module: Any) -> None:
                load(module)
                self.then[name](module)

            spec.loader.exec_module = load_and_go_on
        return spec


def _swap(torch: Any) -> None:
    """Tell the trial of this process, and let the package replace ReLU."""
    seed, folder = os.environ.get("SOFTPLUS_SEED"), os.environ["SOFTPLUS_TRIAL"]
    if seed is not None:
        torch.manual_seed(int(seed))
    with open(os.path.join(folder, f"{os.getpid()}.json"), "w", encoding="utf-8") as file:
        file.write("{}")
    audited = "SOFTPLUS_AUDIT" in os.environ
    if os.environ["SOFTPLUS_ACTIVATION"] == "relu" and not audited:
        return
    try:
        if audited:
            from softplus.lab.scripts import watch
        else:
            from softplus.lab.scripts import swap
    except ImportError as missing:
        raise ImportError(
            f"softplus cannot replace ReLU here: {sys.executable} has PyTorch, and not softplus "
            f"({missing}); install it there too"
        ) from missing
    if audited:
        watch.install(folder)
    else:
        swap.install(os.environ["SOFTPLUS_ACTIVATION"], folder)


def _start() -> None:
    then: dict[str, Callable[[Any], None]] = {"torch": _swap}
    if "SOFTPLUS_SEED" in os.environ:
        seed = int(os.environ["SOFTPLUS_SEED"])
        then["random"] = then["numpy.random"] = lambda module: module.seed(seed)
    sys.meta_path.insert(0, _Imports(then))


def _run_shadowed() -> None:
    """Import the `sitecustomize` that this one hides, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize")
    if spec is not None and spec.loader is not None:
        from importlib.util import module_from_spec

        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":  # as Python imports it, and not as a part of the package
    if "SOFTPLUS_TRIAL" in os.environ:
        _start()
    _run_shadowed()
