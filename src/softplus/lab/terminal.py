"""The report on the terminal."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from softplus.lab import summary

# More columns than this are unreadable on a usual terminal; the reference stands in every table.
_ARMS_A_TABLE = 3


def show(results: dict[str, Any], console: Console) -> None:
    """Print the table, what to know about it, and the verdict."""
    names = [arm["name"] for arm in results["arms"]]
    reference = names.index(results["settings"]["reference"])
    others = [index for index in range(len(names)) if index != reference]
    for start in range(0, len(others), _ARMS_A_TABLE - 1):
        columns = [reference, *others[start : start + _ARMS_A_TABLE - 1]]
        console.print(_table(results, [(names[column], column) for column in columns]))
    for note in summary.notes(results):
        console.print(f"[yellow]note[/]: {escape(note)}", highlight=False)
    if len(results["verdicts"]) > 1:
        console.print(_verdicts(results))
    console.print(f"\n[bold]Verdict[/]: {escape(summary.sentence(results))}\n", highlight=False)


def _table(results: dict[str, Any], columns: list[tuple[str, int]]) -> Table:
    task, settings = results["task"], results["settings"]
    table = Table(
        title=f"{task['name']}: {task['title']}",
        caption=(
            f"{settings['depth']} hidden layers of {settings['width']}, "
            f"{settings['epochs']} epochs, {settings['seeds']} seeds; "
            "estimates with 95% intervals over the seeds"
        ),
    )
    table.add_column("")
    for name, _ in columns:
        table.add_column(name, overflow="fold")
    for section, members in summary.sections(results):
        table.add_section()
        table.add_row(f"[bold]{section}[/]")
        for row in members:
            table.add_row(escape(row.label), *(escape(row.cells[column]) for _, column in columns))
    return table


def _verdicts(results: dict[str, Any]) -> Table:
    table = Table(title=f"Against {results['settings']['reference']}")
    for heading in ["", *summary.TEST_HEADINGS]:
        table.add_column(heading)
    for arm, texts in summary.tests(results):
        table.add_row(arm, *texts)
    return table
