"""The command line: reads the arguments, calls the lab, prints what it returns."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

try:
    import typer
    from rich.console import Console

    from softplus import __version__
    from softplus.lab import (
        activations,
        as_json,
        bench,
        engines,
        files,
        plots,
        report,
        runner,
        study,
        tasks,
        terminal,
    )
    from softplus.lab.errors import UsageError
    from softplus.lab.store import Store
except ModuleNotFoundError as missing:
    print(  # noqa: T201  # the console that prints everything else is what is missing
        f"softplus: the command line needs {missing.name}: pip install 'softplus[lab]'",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"softplus {__version__}")
        raise typer.Exit


@app.callback()
def read_options(
    version: Annotated[  # its callback acts
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Softplus beside ReLU: what they are, what they cost, and which serves a task better."""


_Activations = Annotated[
    str,
    typer.Option(
        "--activations",
        help="Comma-separated; parameters as softplus:beta=5. "
        f"Known: {', '.join(activations.NAMES)}.",
    ),
]
_Rates = Annotated[
    str | None,
    typer.Option(
        "--lr",
        help="Learning rates to choose from, comma-separated; a single one is taken as it is. "
        "[default: the task's]",
    ),
]
_Margin = Annotated[
    float | None,
    typer.Option(
        help="The largest difference in the test metric that does not matter to you. "
        "[default: the task's]"
    ),
]


@app.command("table")
def show_table(
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw function and derivatives into this file (.svg, .png, .pdf)."),
    ] = None,
) -> None:
    """Show Softplus beside ReLU: definitions, values, derivatives, limits, floating point."""
    if plot:
        plots.check(plot)
        plots.save_function_plot(plot)
    terminal.show_table(Console())
    if plot:
        terminal.say(f"plot: {plot}", Console())


@app.command()
def compare(  # noqa: PLR0917  # on the command line every one of them has a name
    task: Annotated[str, typer.Argument(help=f"One of: {', '.join(tasks.NAMES)}.")],
    names: _Activations = "relu,softplus",
    depth: Annotated[int, typer.Option(help="Hidden layers.")] = 3,
    width: Annotated[int, typer.Option(help="Units a hidden layer.")] = 64,
    epochs: Annotated[int | None, typer.Option(help="[default: the task's]")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Runs of each activation, each on a split of its own.")
    ] = None,
    rates: _Rates = None,
    margin: _Margin = None,
    jobs: Annotated[int | None, typer.Option(help="Processes. [default: one a core]")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report and the finished runs.")] = Path(
        "softplus-report"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke test: few seeds, epochs and learning rates.")
    ] = False,
) -> None:
    """Train a task with each activation, measure everything, and say which serves it better.

    The same command again runs only what is missing.
    """
    settings = study.settings(
        task,
        names,
        depth=depth,
        width=width,
        epochs=epochs,
        seeds=seeds,
        rates=rates,
        margin=margin,
        quick=quick,
    )
    jobs = os.cpu_count() or 1 if jobs is None else jobs
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    files.prepare_folder("--out", out)
    console = Console()
    results = _run(settings, out / "study.sqlite", jobs, console)
    paths = report.write(results, out)
    terminal.show_study(results, console)
    for path in paths:
        terminal.say(f"wrote {path}", console)


def _run(settings: study.Settings, file: Path, jobs: int, console: Console) -> study.Results:
    """Run a study under a progress bar; where it is stopped, say what is kept, and exit."""
    with Store(file) as store, terminal.progress() as bar:
        trials = bar.add_task("", total=settings.trials)
        try:
            return runner.run(
                settings,
                store,
                jobs,
                lambda phase, done: bar.update(trials, description=phase, completed=done),
            )
        except (KeyboardInterrupt, engines.WorkerDiedError) as stop:
            bar.stop()
            terminal.say(
                f"{str(stop) or 'stopped'}: {bar.tasks[trials].completed:.0f} of "
                f"{settings.trials} runs are kept in {file}; the same command goes on from there",
                console,
            )
            raise typer.Exit(1 if str(stop) else 130) from None


@app.command("bench")
def run_bench(  # noqa: PLR0917  # on the command line every one of them has a name
    dtype: Annotated[
        str | None, typer.Option(help=f"Of {', '.join(bench.DTYPES)}. [default: all]")
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
        plots.save_bandwidth_plot(plot, cases)
    terminal.show_times(cases, console)
    if skipped:
        terminal.say(f"not compiled: {skipped}", console)


def main() -> None:
    """Run the command line; an error is one line, exit code 2 where the user can put it right."""
    try:
        app()
    except (UsageError, OSError) as error:
        terminal.complain(error)
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None


if __name__ == "__main__":
    main()
