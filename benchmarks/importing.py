"""Prints what `import softplus` takes after `import torch`, of the processor's time.

In fresh processes, with bytecode, as an installed package has it: a temporary folder holds what the
first of them compiles.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

TIMED = """
import time
start = time.process_time()
import torch
between = time.process_time()
import softplus
print(between - start, time.process_time() - between)
"""


def main() -> None:
    """Import so many times, print the medians and the extremes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        environment["PYTHONPYCACHEPREFIX"] = folder
        command = [sys.executable, "-c", TIMED]
        printed = [
            subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603
            for _ in range(rounds + 1)
        ]
    seconds = [map(float, line.split()) for line in printed[1:]]
    for what, times in zip(("torch", "softplus"), zip(*seconds, strict=True), strict=True):
        low, middle, high = (1e3 * f(times) for f in (min, statistics.median, max))
        print(f"import {what}: {middle:.0f} ms of the processor's time ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main()
