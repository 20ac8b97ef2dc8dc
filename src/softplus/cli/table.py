"""`softplus table`: Softplus beside ReLU, as formulas and figures."""

from pathlib import Path
from typing import Annotated

import typer


def show_table(
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw function and derivatives into this file (.svg, .png, .pdf)."),
    ] = None,
) -> None:
    """Show Softplus beside ReLU: definitions, values, derivatives, limits, floating point."""
    from rich.console import Console

    from softplus.lab import plots, terminal

    if plot:
        plots.check(plot)
        plots.save_function_plot(plot)
    terminal.show_table(Console())
    if plot:
        terminal.say(f"plot: {plot}", Console())
