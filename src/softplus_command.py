"""The `softplus` command, which completes words in the shell without loading PyTorch.

`import softplus` loads PyTorch, which takes seconds, and a shell asks at every press of Tab. The
commands and their options do not need it: to complete, the package is left as it is before its
first line has run.
"""

import os
import sys
from importlib.util import find_spec, module_from_spec


def main() -> None:
    """Run the command line, or complete one."""
    if "_SOFTPLUS_COMPLETE" in os.environ and (found := find_spec("softplus")):
        sys.modules["softplus"] = module_from_spec(found)
    from softplus import cli  # noqa: PLC0415  # not before

    cli.main()
