"""The command line: one module a command, which reads its arguments, calls the lab and prints."""

import errno
import sys

try:
    import typer
except ModuleNotFoundError as missing:
    print(  # noqa: T201  # the console that prints everything else is what is missing
        f"softplus: the command line needs {missing.name}: pip install 'softplus[lab]'",
        file=sys.stderr,
    )
    raise SystemExit(2) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

from softplus.cli import audit, bench, compare, judge, run, table
from softplus.lab.errors import UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command("compare", cls=compare.Command)(compare.compare)
app.command("judge")(judge.judge)
app.command("audit", cls=compare.Command)(audit.audit)
app.command("table")(table.show_table)
app.command("run", context_settings=run.SETTINGS)(run.run)
app.command("bench")(bench.run_bench)


def _show_version(wanted: bool) -> None:
    if wanted:
        from softplus import __version__

        typer.echo(f"softplus {__version__}")
        raise typer.Exit


@app.callback()
def read_options(
    version: bool = typer.Option(  # its callback acts
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Softplus beside ReLU: what they are, what they cost, and which serves a task better."""


def main() -> None:
    """Run the command line; an error is one line, exit code 2 where the user can put it right."""
    try:
        app()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("softplus"):
            raise
        print(  # noqa: T201  # rich itself may be what is missing
            f"softplus: this command needs {missing.name}: pip install 'softplus[lab]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    except (UsageError, OSError) as error:
        from softplus.lab import terminal

        terminal.complain(error)
        # A full disk is the user's to put right too.
        theirs = isinstance(error, UsageError) or error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise SystemExit(2 if theirs else 1) from None
