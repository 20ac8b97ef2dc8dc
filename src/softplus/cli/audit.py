"""`softplus audit`: the dead units of a model over its whole data set, call by call."""

from pathlib import Path
from typing import Annotated

import typer

from softplus.cli.compare import COMMAND


def audit(
    ctx: typer.Context,
    task: Annotated[
        Path | None,
        typer.Argument(help="A Python file that defines model() and data(), as for compare."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The model's weights: a saved state_dict, .pt or .safetensors."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Examples at a time.")] = 256,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write everything here.")] = None,
) -> None:
    """Count the dead, dormant, sparse and always-on units of a model, with advice.

    Of a task file, softplus audit TASK.py, all examples of data() go through the model. Of a
    training script, softplus audit -- python train.py, the script runs as it is, and its models
    are judged by their last evaluation.
    """
    import json

    from rich.console import Console

    from softplus.lab import files, terminal
    from softplus.lab.errors import UsageError

    command = ctx.meta.get(COMMAND)
    if (task is None) == (command is None):
        raise UsageError("audit needs a task file, or a training command after --")
    if command is not None and checkpoint:
        raise UsageError("--checkpoint is for a task file: a script loads its own weights")
    if batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, got {batch_size}")
    if json_file:
        files.check("--json", json_file)
    code = 0
    if command is not None:
        from softplus.lab.scripts import auditing as scripts

        code, audits = scripts.audit(command)
        if not audits:
            raise UsageError(
                f"nothing was audited: no model called an activation that is known; the command "
                f"ended with exit code {code}"
            )
    elif task is not None:
        from softplus.lab.problems import auditing as tasks

        audits = [tasks.audit(task, checkpoint, batch_size)]
    if json_file:
        files.write(json_file, json.dumps([each.to_dict() for each in audits], indent=1) + "\n")
    for each in audits:
        terminal.show_audit(each, Console())
    raise typer.Exit(code)
