"""Reads the largest errors that the headers of the kernels state above functions."""

import re
from pathlib import Path

CPU = Path(__file__).parents[1] / "src" / "softplus" / "ops" / "cpu"
HEADERS = ("maths.h", "derivatives.h", "shifted.h", "each.h", "each_in_float.h")
MATHS = "\n".join((CPU / name).read_text() for name in HEADERS)
TABLE = re.compile(
    r"// Largest error, ULP[^\n]*\n((?://  +\w+ [^\n]*\n)+)"  # its rows
    r"(?:template [^\n]*\n)?INLINE [\w<>]+ (\w+)\("  # and the name of the function
)


def largest_errors() -> dict[tuple[str, str, str], float]:
    """Return the stated error by function, dtype, and "1" or "any" for beta."""
    errors = {}
    for rows, function in TABLE.findall(MATHS):
        for row in rows.splitlines():
            dtype, *figures = row.removeprefix("//").split()
            for beta, figure in zip(("1", "any"), figures, strict=True):
                if figure != "-":
                    errors[function, dtype, beta] = float(figure)
    return errors
