"""`softplus bench`: the function timed on this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def run_bench(  # noqa: PLR0917  # on the command line every one of them has a name
    dtype: Annotated[
        str | None,
        typer.Option(help="Of float32, float64, bfloat16, float16. [default: all]"),
    ] = None,
    size: Annotated[str | None, typer.Option(help="Elements. [default: 64 to 16,777,216]")] = None,
    threads: Annotated[str | None, typer.Option(help="[default: 1 and all]")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the times here.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw bandwidth by size (.svg, .png, .pdf).")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke test, without compiling.")
    ] = False,
) -> None:
    """Time the function beside ReLU and PyTorch's Softplus, eager and compiled."""
    from rich.console import Console

    from softplus.lab import as_json, bench, files, plots, terminal

    settings = bench.settings(dtype, size, threads, quick)
    if json_file:
        files.check("--json", json_file)
    if plot:
        plots.check(plot)
    console = Console()
    skipped = "--quick" if quick else bench.no_compiler()
    settings = replace(settings, compiled=skipped is None)
    cases: list[bench.Case] = []
    with terminal.progress() as bar:
        row = bar.add_task("", total=settings.cases)
        for case in bench.run(settings, lambda what: bar.update(row, description=what)):
            cases.append(case)
            bar.advance(row)
    if json_file:
        json_file.write_text(as_json.of_times(settings, cases, skipped), encoding="utf-8")
    if plot:
        plots.save_bandwidth_plot(plot, [case for case in cases if not case.busy] or cases)
    terminal.show_times(cases, console)
    if skipped:
        terminal.say(f"not compiled: {skipped}", console)
