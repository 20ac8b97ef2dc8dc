"""Everything that the command line prints: tables, progress, single lines, errors."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from softplus.lab import bench, purposes, rows, summary, table, wording
from softplus.lab.auditing import Audit
from softplus.lab.errors import TheirError
from softplus.lab.judging import Judgement
from softplus.lab.results import Results
from softplus.lab.verdicts import Verdict

# More columns than this are unreadable on a usual terminal; the reference stands in every table.
_ARMS_A_TABLE = 3


def progress() -> Progress:
    """Return the bar of a long run; it leaves nothing behind, and a closed pipe does not end it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def say(text: str, console: Console) -> None:
    """Print a line as it is."""
    console.print(text, highlight=False, markup=False)


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(3), duration(100), duration(9_000)
    ('3 s', '2 min', '2.5 h')
    """
    if seconds < 60:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3600:.1f} h"


def complain(error: Exception) -> None:
    """Print an error as one line, to stderr, after the traceback of the user's own code."""
    if isinstance(error, TheirError):
        Console(stderr=True).print(error.traceback.rstrip(), markup=False, highlight=False)
    Console(stderr=True).print(f"softplus: {error}", style="red", markup=False, soft_wrap=True)


def show_study(results: Results, console: Console) -> None:
    """Print the table of a study, the verdicts by purpose, what to know, and the two answers."""
    names = [arm.name for arm in results.arms]
    reference = names.index(results.settings.reference)
    others = [index for index in range(len(names)) if index != reference]
    for start in range(0, len(others), _ARMS_A_TABLE - 1):
        columns = [reference, *others[start : start + _ARMS_A_TABLE - 1]]
        console.print(_measures(results, [(names[column], column) for column in columns]))
    for start in range(0, len(others), _ARMS_A_TABLE - 1):
        shown = [names[index] for index in others[start : start + _ARMS_A_TABLE - 1]]
        console.print(_purposes(results, shown))
    for note in (*results.problem.notes, *summary.notes(results)):
        console.print(f"[yellow]note[/]: {escape(note)}", highlight=False)
    _show_answers(results.verdicts, summary.subject(results), console)


def show_judgement(judgement: Judgement, console: Console) -> None:
    """Print what scores came to."""
    for note in judgement.notes:
        console.print(f"[yellow]note[/]: {escape(note)}", highlight=False)
    _show_answers(judgement.verdicts, judgement.subject, console)


def _show_answers(verdicts: Sequence[Verdict], subject: wording.Subject, console: Console) -> None:
    for verdict in verdicts:
        heading = f"{verdict.arm} against {verdict.reference}: {wording.headline(verdict)}"
        console.print(f"\n[bold]{escape(heading)}[/]", highlight=False)
        for sentence in wording.sentences(verdict, subject):
            console.print(Padding(Text(sentence), (0, 0, 0, 2)))
        console.print(Padding(Text(wording.evidence(verdict), style="dim"), (0, 0, 0, 2)))
    console.print()


def _measures(results: Results, columns: list[tuple[str, int]]) -> Table:
    problem, settings = results.problem, results.settings
    shown = Table(
        title=f"{problem.name}: {problem.title}",
        caption=(
            f"{problem.training}, {settings.seeds} seeds; "
            "estimates with 95% intervals over the seeds"
        ),
    )
    for heading in ["", *(name for name, _ in columns)]:
        shown.add_column(heading, overflow="fold")
    for section, members in rows.sections(results).items():
        shown.add_section()
        shown.add_row(f"[bold]{section}[/]")
        for row in members:
            shown.add_row(escape(row.label), *(escape(row.cells[column]) for _, column in columns))
    return shown


def _purposes(results: Results, names: list[str]) -> Table:
    reference = results.settings.reference
    shown = Table(
        title=f"For which purpose, against {reference}",
        caption="on these rows; differences are arm minus reference, ratios arm over reference",
        show_lines=True,
    )
    for heading in ["", *names]:
        shown.add_column(heading, overflow="fold")
    for purpose in purposes.purposes(results):
        found = {finding.arm: finding for finding in purpose.findings}
        cells = [
            f"[bold]{escape(found[name].says)}[/]\n{escape(found[name].figures)}"
            if name in found
            else rows.NOT_MEASURED
            for name in names
        ]
        shown.add_row(purpose.name, *cells)
    return shown


def show_times(cases: Sequence[bench.Case], console: Console) -> None:
    """Print what was timed, one table for each number of threads."""
    for threads in dict.fromkeys(case.threads for case in cases):
        shown = Table(
            title=f"Softplus beside ReLU and PyTorch's Softplus, threads: {threads}",
            caption="Medians of the ratios within each round; spread: of ours to ReLU's, the "
            "middle half of the rounds. "
            f"From {bench.INTO_EXISTING:,} elements on into existing memory.",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        shown.add_column("", no_wrap=True)
        for heading in (
            "elements",
            "ours, µs",
            "PyTorch's\n/ ReLU",
            "ours\n/ ReLU",
            "times faster\nthan PyTorch's",
            "spread",
        ):
            shown.add_column(heading, justify="right", no_wrap=True)
        for dtype in dict.fromkeys(case.dtype for case in cases):
            shown.add_section()
            shown.add_row(f"[bold]{dtype}[/]")
            for case in cases:
                if (case.threads, case.dtype) == (threads, dtype):
                    size = f"{case.size:,}"
                    if case.busy:
                        shown.add_row(case.direction, size, "machine busy: not measured")
                        continue
                    spread = f"{case.spread:.0%}"
                    shown.add_row(case.direction, size, *_ratios(case.eager), spread)
                    if case.compiled:
                        shown.add_row("  compiled", "", *_ratios(case.compiled))
        console.print(shown)


def _ratios(seconds: dict[str, float]) -> list[str]:
    relu, theirs, ours = (seconds[name] for name in (bench.RELU, bench.TORCH, bench.OURS))
    return [
        f"{ours * 1e6:,.1f}",
        f"{theirs / relu:.2f}",
        f"{ours / relu:.2f}",
        f"{theirs / ours:.2f}",
    ]


def show_audit(audit: Audit, console: Console) -> None:
    """Print the units of a model call by call, and what to do about the dead ones."""
    shown = Table(
        title=f"{audit.model}: {audit.seen}",
        caption="dead: slope below 0.001 on every example; dormant: mean output at most 2.5% of "
        "the layer's; always on: input above 0 on every example",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("activation", overflow="fold")
    shown.add_column("after", overflow="fold")
    for heading in ("units", "dead", "dormant", "always on", "zeros"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for call in audit.calls:
        where = f" ({Path(call.file).name}:{call.line})" if call.file else ""
        kind = "" if call.activation in call.site else f" {call.activation}"
        shown.add_row(
            escape(f"{call.site}{kind}{where}"),
            escape(call.after),
            f"{call.units:,}",
            *(f"{len(units):,}" for units in (call.dead, call.dormant, call.always_on)),
            f"{call.sparsity:.1%}",
        )
    console.print(shown)
    for text in audit.unseen:
        say(f"not seen: {text}, which Python does not call", console)
    if not audit.advice:
        say("No call has 1% of dead units: on that account convert nothing.", console)
    for advice in audit.advice:
        units = f"{advice.dead:,} dead unit{'s' * (advice.dead != 1)}"
        say(f"{units}: nine in ten get a gradient again by\n  {advice}", console)


def show_table(console: Console) -> None:
    """Print the four tables of Softplus beside ReLU."""
    for shown in (_definitions(), _values(), _underflow(), _reversion()):
        console.print(shown)


def _definitions() -> Table:
    shown = Table("", "Softplus", "ReLU", title="What they are", show_lines=True)
    shown.add_row("function", "ln(1 + e^x)", "max(x, 0)")
    shown.add_row("with sharpness beta", "ln(1 + e^(beta·x)) / beta", "the limit beta to infinity")
    shown.add_row(
        "derivative", "sigmoid(x) = 1 / (1 + e^-x)", "1 for x > 0, 0 for x < 0, none at 0"
    )
    shown.add_row("second derivative", "sigmoid(x)·(1 - sigmoid(x))", "0, none at 0")
    shown.add_row("shape", *table.shapes())
    for name, limit in (("-infinity", float("-inf")), ("+infinity", float("inf"))):
        value, slope, curvature, relu, _ = table.at(limit)
        smooth = f"{value:g}, derivative {slope:g}, second {curvature:g}"
        shown.add_row(f"at {name}", smooth, f"{relu:g}")
    return shown


def _values() -> Table:
    shown = Table(title="What they give")
    for heading in ("x", "Softplus", "derivative", "second derivative", "ReLU", "derivative"):
        shown.add_column(heading, justify="right")
    for x, (*smooth, relu, slope) in table.values().items():
        choice = " (PyTorch's choice)" if x == 0 else ""
        shown.add_row(f"{x:g}", *(f"{y:.4f}" for y in smooth), f"{relu:g}", f"{slope:g}{choice}")
    return shown


def _underflow() -> Table:
    shown = Table(
        title="Where floating point ends",
        caption=(
            "Softplus is never zero, but floating point rounds: from these points on to the left "
            "its value, and its derivative, underflow to exactly 0. ReLU's are 0 from x = 0 on."
        ),
    )
    shown.add_column("")
    for heading in ("subnormal from x =", "zero from x =", "derivative zero from x ="):
        shown.add_column(heading, justify="right")
    for dtype, edges in table.underflow().items():
        shown.add_row(dtype, *(f"{edge:.2f}" for edge in edges))
    return shown


def _reversion() -> Table:
    shown = Table(
        title="PyTorch's reversion to x above a threshold of 20, at the next number above 20",
        caption=(
            "PyTorch returns x there to avoid an overflow. The exact function does not overflow, "
            "so this package has no threshold unless you set one below 20."
        ),
    )
    shown.add_column("")
    for heading in ("exact", "torch.nn.Softplus"):
        shown.add_column(heading, justify="right")
    for name, figures in table.reversion().items():
        shown.add_row(name, *(f"{figure:.3g}" for figure in figures))
    return shown
