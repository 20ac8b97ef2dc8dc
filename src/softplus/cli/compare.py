"""`softplus compare`: which activation serves a problem better."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

# Where a command's `ctx.meta` has the command line of the user's that follows `--`.
COMMAND = "softplus.cli.command"


class Command(TyperCommand):
    """A command that may be followed by `--` and a command line of the user's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set aside what follows `--`, options included."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[COMMAND] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


_Task = Annotated[
    str | None,
    typer.Argument(
        help="digits, diabetes or sdf; a table (.csv, .parquet, .npz); or a Python file that "
        "defines model() and data().",
        show_default=False,
    ),
]
_Activations = Annotated[
    str | None,
    typer.Option(
        "--activations",
        help="Comma-separated; parameters as softplus:beta=5. Known: relu, softplus, "
        "shifted_softplus, centred_softplus, annealed_softplus, gelu, silu, elu, leaky_relu, mish, "
        "squareplus, relu2. [default: relu,softplus; on sdf relu,softplus:beta=10]",
    ),
]
_Init = Annotated[
    str,
    typer.Option(
        help="How weights start: default, he or looks_linear; one for all activations, or one for "
        "each, comma-separated."
    ),
]
_Target = Annotated[str | None, typer.Option(help="Of a table: the column to predict.")]
_Group = Annotated[str | None, typer.Option(help="Of a table: a column whose groups stay whole.")]
_Time = Annotated[
    str | None, typer.Option(help="Of a table: the column by which the test is the latest rows.")
]
_Kind = Annotated[
    str | None,
    typer.Option(
        help="Of a table: classification or regression. [default: what the target looks like]"
    ),
]
_Categorical = Annotated[
    str | None,
    typer.Option(help="Of a table: columns of numbers that name categories, comma-separated."),
]
_Ignored = Annotated[
    str | None, typer.Option("--ignore", help="Of a table: columns to leave out, comma-separated.")
]
_Depth = Annotated[int | None, typer.Option(help="Hidden layers. [default: the task's]")]
_Width = Annotated[int | None, typer.Option(help="Units a hidden layer. [default: the task's]")]
_Epochs = Annotated[int | None, typer.Option(help="[default: the task's]")]
_Seeds = Annotated[
    int | None,
    typer.Option(help="Runs of each activation, each on a split of its own. [default: the task's]"),
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
_Jobs = Annotated[int | None, typer.Option(help="Processes. [default: one a core]")]
_Out = Annotated[Path, typer.Option(help="Folder of the report and the finished runs.")]
_Engine = Annotated[
    str, typer.Option(help="Where trials run: local, or ray (pip install 'softplus[ray]').")
]
_Address = Annotated[
    str | None,
    typer.Option(help="The Ray cluster's, as host:6379 or auto. [default: one on this machine]"),
]
_Gpus = Annotated[float, typer.Option(help="GPUs a trial, on Ray; a share, as 0.25, is allowed.")]
_Searched = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="Of a training command: a pattern such as 'val_acc=([0-9.]+)', of which the last "
        "match in its output is the score; or the name of a value that it records.",
    ),
]
_Lower = Annotated[
    bool | None,
    typer.Option(
        "--lower-is-better/--higher-is-better",
        help="Of a training command. [default: what the metric's name suggests]",
        show_default=False,
    ),
]
_Ratio = Annotated[
    float | None,
    typer.Option(
        "--test-ratio",
        help="Of a training command: rows of its test set over rows of its training set; without "
        "it nothing is said about other rows.",
    ),
]
_Timeout = Annotated[
    float | None, typer.Option(help="Of a training command: the seconds that a trial may take.")
]
_Plot = Annotated[
    Path | None,
    typer.Option(help="Also draw the verdicts into this file (.svg, .png, .pdf)."),
]
_Quick = Annotated[
    bool, typer.Option("--quick", help="A smoke test: few seeds, epochs and learning rates.")
]


def compare(  # noqa: PLR0917  # on the command line every one of them has a name
    ctx: typer.Context,
    task: _Task = None,
    names: _Activations = None,
    init: _Init = "default",
    target: _Target = None,
    group: _Group = None,
    time: _Time = None,
    kind: _Kind = None,
    categorical: _Categorical = None,
    ignored: _Ignored = None,
    depth: _Depth = None,
    width: _Width = None,
    epochs: _Epochs = None,
    seeds: _Seeds = None,
    rates: _Rates = None,
    margin: _Margin = None,
    jobs: _Jobs = None,
    engine: _Engine = "local",
    address: _Address = None,
    gpus: _Gpus = 0.0,
    metric: _Searched = None,
    lower: _Lower = None,
    test_ratio: _Ratio = None,
    timeout: _Timeout = None,
    out: _Out = Path("softplus-report"),
    plot: _Plot = None,
    quick: _Quick = False,
) -> None:
    """Train a task with each activation, measure everything, and say which serves it better.

    A training script, unchanged, is a task too: its command follows after --, as in
    softplus compare --metric 'val_acc=([0-9.]+)' -- python train.py --epochs 3
    The same command again runs only what is missing.
    """
    from rich.console import Console

    from softplus.lab import engines, files, machine, plots, settings, terminal
    from softplus.lab.problems.script import script

    of_command = {
        "--metric": metric,
        "--lower-is-better": lower,
        "--test-ratio": test_ratio,
        "--timeout": timeout,
    }
    of_task = {
        "a task": task,
        "--init": None if init == "default" else init,
        "--target": target,
        "--group": group,
        "--time": time,
        "--kind": kind,
        "--categorical": categorical,
        "--ignore": ignored,
        "--depth": depth,
        "--width": width,
        "--epochs": 5 if quick and epochs is None and COMMAND not in ctx.meta else epochs,
    }
    if COMMAND in ctx.meta:
        _refuse(of_task, "cannot be given with a training command after --")
        threads = max(1, machine.cores() // max(1, jobs or 1))
        problem = script(
            ctx.meta[COMMAND],
            metric=metric,
            out=out,
            lower_is_better=lower,
            test_ratio=test_ratio,
            timeout=timeout,
            threads=threads,
        )
    else:
        _refuse(of_command, "is for a training command after --")
        problem = _task(of_task)
    asked = settings.settings(
        problem, names, inits=init, seeds=seeds, rates=rates, margin=margin, quick=quick
    )
    if jobs is None:
        jobs = 1 if problem.alone else machine.cores()
    chosen = engines.choose(engine, jobs=jobs, address=address, gpus=gpus)
    files.prepare_folder("--out", out)
    if plot:
        plots.check(plot)
    console = Console()
    _announce(asked, jobs)
    study = _run(asked, chosen, out, console)
    paths = study.save(out)
    if plot:
        plots.save_differences(plot, study.results)
        paths.append(plot)
    terminal.show_study(study.results, console)
    for path in paths:
        terminal.say(f"wrote {path}", console)


def _refuse(options: dict[str, Any], why: str) -> None:
    """Raise UsageError for an option that was given and has no meaning here."""
    from softplus.lab.errors import UsageError

    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{option} {why}, got {value}")


def _task(options: dict[str, Any]) -> Any:
    from softplus.lab import problems
    from softplus.lab.errors import UsageError

    if options["a task"] is None:
        raise UsageError(
            "compare needs a task: digits, diabetes, sdf, a table, a Python file that defines "
            "model() and data(), or -- and a training command"
        )
    return problems.load(
        options["a task"],
        target=options["--target"],
        group=options["--group"],
        time=options["--time"],
        kind=options["--kind"],
        categorical=_names(options["--categorical"]),
        ignored=_names(options["--ignore"]),
        depth=options["--depth"],
        width=options["--width"],
        epochs=options["--epochs"],
    )


def _names(spelling: str | None) -> list[str]:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in spelling.split(",")] if spelling else []


def _announce(settings: Any, jobs: int) -> None:
    """Say what will be done and about how long it takes, having tried a step of each arm.

    That goes to stderr, as progress does: a closed pipe must not end a study before it begins.
    """
    from rich.console import Console

    from softplus.lab import terminal
    from softplus.lab.problems.rehearsal import rehearse

    problem = settings.problem
    console = Console(stderr=True)
    seconds = rehearse(problem, settings.activations)
    terminal.say(f"{problem.name}: {problem.title}; {problem.training}", console)
    for note in problem.notes:
        terminal.say(f"- {note}", console)
    trainings = f"{settings.trials} trainings"
    if seconds is not None:
        whole = seconds * settings.trials / min(jobs, settings.trials)
        trainings += f", at most about {terminal.duration(whole)}"
    terminal.say(trainings, console)


def _run(settings: Any, engine: Any, out: Path, console: Any) -> Any:
    """Run a study under a progress bar; where it is stopped, say what is kept, and exit."""
    from softplus.lab import stopping, study, terminal

    command = shlex.join(["softplus", *sys.argv[1:]])
    with terminal.progress() as bar:
        trials = bar.add_task("", total=settings.trials)

        def advance(phase: str, done: int) -> None:
            bar.update(trials, description=phase, completed=done)

        try:
            with stopping.by_signals():
                return study.run(settings, engine, out, advance, command)
        except KeyboardInterrupt as stop:
            bar.stop()
            terminal.say(
                f"stopped: {bar.tasks[trials].completed:.0f} of {settings.trials} runs are kept "
                f"in {out / study.FILE}; the same command goes on from there",
                console,
            )
            raise typer.Exit(stopping.exit_code(stop)) from None
