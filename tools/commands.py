"""Prints docs/reference/commands.md: every command and option, in the words of its own help."""

from typing import Any

import typer

from softplus.cli import app

HEAD = """\
# The command line

`python tools/commands.py` prints this page from what `softplus --help` says.
"""


def page() -> str:
    """Return the page."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="softplus")
    commands = [section("softplus", group, context)]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        commands.append(section(f"softplus {name}", command, context))
    return "\n".join([HEAD, *commands])


def section(name: str, command: Any, context: Any) -> str:
    """Return what there is to say about a command."""
    rows = [row(parameter, context) for parameter in command.get_params(context)]
    table = ["| | |", "|---|---|", *rows]
    return "\n".join([f"## {name}", "", escaped(command.help), "", *table, ""])


def row(parameter: Any, context: Any) -> str:
    """Return the row of an option or an argument."""
    names = " / ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    record = parameter.get_help_record(context)  # with the default
    return f"| {names} | {escaped(record[1])} |"


def escaped(text: str) -> str:
    """Return text as Markdown that shows it."""
    for character in "|<*_":
        text = text.replace(character, f"\\{character}")
    return text.replace("  [", " [").rstrip()


if __name__ == "__main__":
    print(page(), end="")
