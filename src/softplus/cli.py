"""The command line: reads the arguments, calls the lab, prints what it returns."""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

try:
    import typer
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from softplus.lab import (
        activations,
        bench,
        engines,
        plots,
        report,
        study,
        table,
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
    help=__doc__.splitlines()[0] if __doc__ else None,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True)
class _Budget:
    """What a comparison spends where the command line does not say."""

    seeds: int
    epochs: int
    learning_rates: tuple[float, ...]


# A smoke test: too short for a verdict to rest on.
_QUICK = _Budget(seeds=3, epochs=5, learning_rates=(1e-3, 1e-2))


@app.command("table")
def show_table(
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw function and derivatives into this file (.svg, .png, .pdf)."),
    ] = None,
) -> None:
    """Show Softplus beside ReLU: definitions, values, derivatives, limits, floating point."""
    table.show(Console())
    if plot:
        plots.save_function_plot(plot)
        Console().print(f"plot: {plot}", highlight=False)


@app.command()
def compare(  # noqa: PLR0917  # on the command line every one of them has a name
    task: Annotated[str, typer.Argument(help=f"One of: {', '.join(tasks.NAMES)}.")],
    activation: Annotated[
        str,
        typer.Option(
            "--activations",
            help="Comma-separated; parameters as softplus:beta=5. "
            f"Known: {', '.join(activations.NAMES)}.",
        ),
    ] = "relu,softplus",
    depth: Annotated[int, typer.Option(help="Hidden layers.")] = 3,
    width: Annotated[int, typer.Option(help="Units a hidden layer.")] = 64,
    epochs: Annotated[int | None, typer.Option(help="[default: the task's]")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Runs of each activation, each on a split of its own.")
    ] = None,
    lr: Annotated[
        str | None,
        typer.Option(
            help="Learning rates to choose from, comma-separated; a single one is taken as it is. "
            "[default: the task's]"
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="The largest difference in the test metric that does not matter to you. "
            "[default: the task's]"
        ),
    ] = None,
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
    data = tasks.load(task)
    budget = _QUICK if quick else _Budget(10, data.epochs, data.learning_rates)
    settings = study.Settings(
        task=task,
        activations=tuple(activations.parse_list(activation)),
        depth=depth,
        width=width,
        epochs=budget.epochs if epochs is None else epochs,
        seeds=budget.seeds if seeds is None else seeds,
        learning_rates=budget.learning_rates if lr is None else study.parse_rates(lr),
        margin=data.margin if margin is None else margin,
    )
    jobs = os.cpu_count() or 1 if jobs is None else jobs
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    report.prepare(out)
    console = Console()
    with Store(out / "study.sqlite") as store, _progress(console) as bar:
        trials = bar.add_task("", total=settings.trials)
        done = 0

        def progress(phase: str, count: int) -> None:
            nonlocal done
            done = count
            bar.update(trials, description=phase, completed=count)

        try:
            results = study.run(settings, store, jobs, progress)
        except (KeyboardInterrupt, engines.WorkerDiedError) as stop:
            bar.stop()
            reason = str(stop) or "stopped"
            console.print(
                f"{reason}: {done} of {settings.trials} runs are kept in {store.path}; the same "
                "command goes on from there",
                highlight=False,
            )
            raise typer.Exit(1 if str(stop) else 130) from None
    terminal.show(results, console)
    for path in report.write(results, out):
        console.print(f"wrote {path}", highlight=False)


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
    if plot:
        plots.check(plot)
    bench.check_writable("--json", json_file)
    bench.check_writable("--plot", plot)
    console = Console()
    cases: list[bench.Case] = []
    skipped = "--quick" if quick else bench.no_compiler()
    settings = replace(settings, compiled=skipped is None)
    with _progress(console) as bar:
        row = bar.add_task("", total=settings.cases)
        for case in bench.run(settings, lambda what: bar.update(row, description=what)):
            cases.append(case)
            bar.advance(row)
    bench.show(cases, console)
    if skipped:
        console.print(f"not compiled: {skipped}", highlight=False, markup=False)
    if json_file:
        json_file.write_text(json.dumps(bench.results(settings, cases, skipped), indent=1) + "\n")
    if plot:
        plots.save_bandwidth_plot(plot, cases)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def main() -> None:
    """Run the command line; what the user got wrong is one line and exit code 2."""
    try:
        app()
    except UsageError as error:
        Console(stderr=True).print(f"softplus: {error}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
