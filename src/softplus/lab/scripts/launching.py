"""How a command is started so that its Pythons swap ReLU, set their seeds and tell of both."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from softplus.lab.activations import Activation
from softplus.lab.errors import UsageError

_HERE = Path(__file__).parent
_GRACE = 5.0  # seconds from SIGTERM to SIGKILL


def words(command: Sequence[str]) -> list[str]:
    """Return a command line as it is started: `train.py` and `-m train` after this Python.

    Raises:
        UsageError: There is none, or no such script or program.
    """
    if not command:
        raise UsageError(
            "a command is missing: train.py, or -m module, or a program such as torchrun"
        )
    first, *rest = command
    if first == "-m" and not rest:
        raise UsageError("-m needs the name of a module")
    if first == "-m" or first.endswith(".py"):
        if first != "-m" and not Path(first).is_file():
            raise UsageError(f"there is no script {first} in {Path.cwd()}")
        return [sys.executable, *command]
    if first.startswith("-"):
        raise UsageError(
            f"{first} is no option of `softplus run`; for one of Python's, write python {first} …"
        )
    if shutil.which(first, path=_path()) is None:
        raise UsageError(f"there is no program {first} on the PATH")
    return list(command)


def environment(
    activation: Activation, seed: int | None, folder: Path, threads: int | None = None
) -> dict[str, str]:
    """Return the environment of a trial, of which `folder` gets the account.

    Raises:
        UsageError: The activation needs what a script cannot give it, or the seed is no seed.
    """
    if activation.anneals or activation.init != "default":
        raise UsageError(
            f"{activation.name} cannot take ReLU's place in a script: "
            "nobody knows its steps, or may choose its start"
        )
    added = {
        "SOFTPLUS_ACTIVATION": activation.name,
        "SOFTPLUS_TRIAL": str(folder),
        "PATH": _path(),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(_HERE / "startup"), os.environ.get("PYTHONPATH")])
        ),
        # Compiled code is cached by what the script says, which is the same whatever ReLU is.
        "TORCH_COMPILE_CACHE_KEY_TAG": f"{os.environ.get('TORCH_COMPILE_CACHE_KEY_TAG', '')}"
        f"softplus:{activation.name}",
    }
    if seed is not None:
        if not 0 <= seed < 2**32:
            raise UsageError(f"--seed must be from 0 to 2^32 - 1, as NumPy's, got {seed}")
        added |= {"SOFTPLUS_SEED": str(seed)}
        added |= {"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", str(seed))}
    if threads is not None:
        added |= {"OMP_NUM_THREADS": str(threads)}
    return {**os.environ, **added}


def supervised(command: Sequence[str]) -> list[str]:
    """Return the command line that runs a command, from words(), under a supervisor."""
    supervisor = str(_HERE / "supervisor.py")
    return [sys.executable, "-I", "-S", supervisor, str(os.getpid()), str(_GRACE), *command]


def _path() -> str:
    """Return the PATH on which `python` is the one that this package is installed in."""
    return os.pathsep.join(
        filter(None, [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    )
