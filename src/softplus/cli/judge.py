"""`softplus judge`: which arm is better, from scores that exist."""

from pathlib import Path
from typing import Annotated

import typer


def judge(  # noqa: PLR0917  # on the command line every one of them has a name
    scores: Annotated[
        Path, typer.Argument(help="A CSV file with the columns arm, seed, score: one run a line.")
    ],
    reference: Annotated[
        str | None,
        typer.Option(help="The arm to compare with. [default: relu if there is one, or the first]"),
    ] = None,
    test_ratio: Annotated[
        float | None,
        typer.Option(
            help="Rows of the test set over rows of the training set, which each run must have "
            "drawn anew: with it the question about other rows is answered too."
        ),
    ] = None,
    paired_by: Annotated[
        str,
        typer.Option(
            help="The columns, comma-separated, whose values pair the runs of two arms; none: "
            "they are no pairs."
        ),
    ] = "seed",
    margin: Annotated[
        float | None, typer.Option(help="The largest difference that does not matter to you.")
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="As of a loss or an error.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything here.")] = None,
) -> None:
    """Say which arm is better, on the same rows and on others, from scores that exist."""
    from rich.console import Console

    from softplus.lab import as_json, files, judging, terminal

    if json_file:
        files.check("--json", json_file)
    found = judging.judge(
        scores,
        reference=reference,
        test_ratio=test_ratio,
        paired_by=paired_by,
        margin=margin,
        lower_is_better=lower_is_better,
    )
    if json_file:
        files.write(json_file, as_json.of_judgement(found))
    terminal.show_judgement(found, Console())
