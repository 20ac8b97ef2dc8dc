"""`softplus run`: a training script, unchanged, with another activation in the place of ReLU."""

import os
import signal
from typing import Annotated

import typer

# The first word that is no option of ours begins the command, `-m` too; what follows is its own.
SETTINGS = {"allow_interspersed_args": False, "ignore_unknown_options": True}


def run(
    command: Annotated[
        list[str],
        typer.Argument(
            help="A script and its options; or -m module, or a program such as python, torchrun."
        ),
    ],
    activation: Annotated[
        str, typer.Option(help="What every ReLU computes, as softplus:beta=5.")
    ] = "softplus",
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of random, NumPy and torch, also in SOFTPLUS_SEED. [default: left alone]"
        ),
    ] = None,
) -> None:
    """Run a training script with another activation in the place of every ReLU.

    The script is not changed: before its first line, nn.ReLU, F.relu, torch.relu, x.relu() and
    their in-place forms come to compute the activation.
    """
    from softplus.lab import activations
    from softplus.lab.scripts import running

    done = running.run(command, activations.parse(activation), seed)
    typer.echo(f"softplus run: {done.summary}", err=True)
    if done.code < 0:  # by a signal, and so do we
        signal.signal(-done.code, signal.SIG_DFL)
        os.kill(os.getpid(), -done.code)
    if done.fault and not done.code:
        typer.echo(f"softplus run: {done.fault}", err=True)
    raise typer.Exit(done.code or (2 if done.fault else 0))
