"""One run of a script whose models are audited."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from softplus.lab.activations import parse
from softplus.lab.auditing import Audit
from softplus.lab.scripts import launching, running
from softplus.lab.units.watching import Units


def audit(command: Sequence[str]) -> tuple[int, list[Audit]]:
    """Run a command as it is, and return its exit code and an audit of each model that it ran.

    A model is a module that is called outside of others; the largest comes first.

    Raises:
        UsageError: The command cannot be used.
    """
    words = launching.words(command)
    with tempfile.TemporaryDirectory(prefix="softplus-audit-") as folder:
        environment = launching.environment(parse("relu"), None, Path(folder))
        code = running.supervise(words, {**environment, "SOFTPLUS_AUDIT": "1"})
        files = sorted(Path(folder).glob("units-*.json"))
        models = [model for file in files for model in json.loads(file.read_text("utf-8"))]
    audits = [
        Audit(each["model"], each["seen"], tuple(_units(call) for call in each["calls"]))
        for each in models
    ]
    return code, sorted(audits, key=lambda found: -sum(call.units for call in found.calls))


def _units(call: dict[str, Any]) -> Units:
    """Return the figures of a call, of which JSON has made lists."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in call.items()}
    return Units(**fields)
