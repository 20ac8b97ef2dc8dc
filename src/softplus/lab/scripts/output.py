"""The output of a script: read in whatever encoding it is, and searched for its score."""

import codecs
import locale
import math
import re
from dataclasses import dataclass

# Colours and cursor movements of progress bars.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")
_NAMES = re.compile(r"[^\W\d][\w./-]*")
_LOWER = re.compile(
    r"(?:^|[\W_])(loss|err|error|mae|mse|rmse|mape|nll|bpc|ppl|perplexity|wer|cer|fid)(?:$|[\W_])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Searched:
    """A metric as --metric gives it: a pattern, or the name of a recorded value."""

    text: str

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """The pattern, None where the text has no group and so is a name."""
        pattern = re.compile(self.text, re.MULTILINE)
        return pattern if pattern.groups else None

    @property
    def name(self) -> str:
        """What the score is called: the last word before the group."""
        words = _NAMES.findall(re.sub(r"\\.", " ", self.text.partition("(")[0]))
        return words[-1].strip("./-") if words else "score"

    @property
    def lower_is_better(self) -> bool:
        """What the name suggests."""
        return _LOWER.search(self.name) is not None


def decoded(output: bytes) -> str:
    """Return an output as text, a progress bar's rewritten line as many, without colours."""
    if output.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = output.decode("utf-16", errors="replace")
    else:
        text = _decoded(output)
    return _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(output: bytes) -> str:
    for encoding in ("utf-8", locale.getpreferredencoding()):
        try:
            return output.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return output.decode("latin-1")


def score(text: str, pattern: re.Pattern[str]) -> float | None:
    """Return the number of the pattern's last match; None where it never matches.

    It is NaN where what the group matched is no number.
    """
    last = None
    for last in pattern.finditer(text):  # noqa: B007 -- the last one is what is wanted
        pass
    if last is None:
        return None
    try:
        return float(next(group for group in last.groups() if group is not None).rstrip("."))
    except (StopIteration, ValueError):
        return math.nan


def tail(text: str, lines: int = 20) -> str:
    """Return the last traceback of an output, or its last lines."""
    found = text.rstrip().splitlines()
    starts = [at for at, line in enumerate(found) if line.startswith("Traceback (most recent")]
    start = starts[-1] if starts and len(found) - starts[-1] <= 5 * lines else -lines
    return "\n".join(found[start:])


def mentions_nan(text: str) -> bool:
    """Whether it shows a number that is none, as a training that diverged prints it."""
    return re.search(r"\b(nan|inf)\b", text, re.IGNORECASE) is not None
