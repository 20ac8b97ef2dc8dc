"""`softplus compare`: which activation serves a problem better."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand


class Command(TyperCommand):
    """A command of which what follows `--` is a command line of the user's, in `ctx.meta`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set aside what follows `--`, options included."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[COMMAND] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


COMMAND = "softplus.cli.command"


def compare(  # noqa: PLR0917  # on the command line every one of them has a name
    ctx: typer.Context,
    task: Annotated[str | None, typer.Argument(help="digits or diabetes.")] = None,
    names: Annotated[
        str,
        typer.Option(
            "--activations",
            help="Comma-separated; parameters as softplus:beta=5. Known: relu, softplus, "
            "shifted_softplus, gelu, silu, elu, leaky_relu.",
        ),
    ] = "relu,softplus",
    depth: Annotated[int | None, typer.Option(help="Hidden layers. [default: the task's]")] = None,
    width: Annotated[
        int | None, typer.Option(help="Units a hidden layer. [default: the task's]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="[default: the task's]")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Runs of each activation, each on a split of its own.")
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(
            "--lr",
            help="Learning rates to choose from, comma-separated; a single one is taken as it is. "
            "[default: the task's]",
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
    from rich.console import Console

    from softplus.lab import files, problems, report, settings, terminal
    from softplus.lab.errors import UsageError

    if COMMAND in ctx.meta:
        raise UsageError("a training command after -- cannot be compared yet")
    if task is None:
        raise UsageError("compare needs a task: digits or diabetes")
    if quick and epochs is None:
        epochs = 5
    problem = problems.load(task, depth=depth, width=width, epochs=epochs)
    asked = settings.settings(problem, names, seeds=seeds, rates=rates, margin=margin, quick=quick)
    jobs = os.cpu_count() or 1 if jobs is None else jobs
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    files.prepare_folder("--out", out)
    console = Console()
    results = _run(asked, out / "study.sqlite", jobs, console)
    paths = report.write(results, out)
    terminal.show_study(results, console)
    for path in paths:
        terminal.say(f"wrote {path}", console)


def _run(settings: Any, file: Path, jobs: int, console: Any) -> Any:
    """Run a study under a progress bar; where it is stopped, say what is kept, and exit."""
    from softplus.lab import engines, runner, terminal
    from softplus.lab.store import Store

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
