"""Reads a table from a CSV, Parquet or NPZ file into a frame, and says what is wrong with one."""

import re
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

from softplus.lab.errors import UsageError, unknown

# Spellings of a missing value that people's CSV files have.
_MISSING = ["", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "-", "."]
_SEPARATORS = ",;\t|"
# From this share of numbers on, a column of text is one of numbers in which something else stands.
_MOSTLY = 0.8


def read(path: Path) -> pl.DataFrame:
    """Return the table in a file, with missing values as null.

    Raises:
        UsageError: The file is not there, or is no table of its kind.
    """
    if not path.is_file():
        raise UsageError(f"{path} is no file: give the path of a CSV, Parquet or NPZ file")
    kind = {".npz": "NPZ", ".parquet": "Parquet", ".pq": "Parquet"}.get(path.suffix.lower(), "CSV")
    try:
        if kind == "NPZ":
            frame = _npz(path)
        else:
            frame = pl.read_parquet(path) if kind == "Parquet" else _csv(path)
    except (pl.exceptions.PolarsError, OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, UsageError):
            raise
        what = str(error).strip().splitlines()[0]
        raise UsageError(f"{path} cannot be read as {kind}: {what}") from None
    if frame.is_empty():
        raise UsageError(f"{path} has no rows")
    # A float's NaN is a missing value too.
    return frame.with_columns(pl.selectors.float().fill_nan(None))


def _csv(path: Path) -> pl.DataFrame:
    if path.name.lower().endswith(".gz"):
        separator = "\t" if ".tsv" in path.name.lower() else ","
    else:
        with path.open(encoding="utf-8", errors="replace") as file:
            header = file.readline()
        separator = max(_SEPARATORS, key=header.count)
    frame = pl.read_csv(
        path,
        separator=separator,
        null_values=_MISSING,
        infer_schema_length=None,
        try_parse_dates=True,
        encoding="utf8-lossy",
    )
    frame = frame.rename(lambda name: name.strip().removeprefix("\ufeff"))
    if all(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?(_duplicated_\d+)?", c) for c in frame.columns):
        raise UsageError(
            f"{path} has no header line: its first line is {header_text(frame)}; name the columns"
        )
    return frame


def header_text(frame: pl.DataFrame) -> str:
    """Return the names of the columns, the first twenty of many."""
    names = ", ".join(frame.columns[:20])
    return names if frame.width <= 20 else f"{names} and {frame.width - 20} more"


def _npz(path: Path) -> pl.DataFrame:
    """Return the arrays of a file as columns, an array of more than one dimension as several."""
    columns: dict[str, np.ndarray] = {}
    with np.load(path, allow_pickle=False) as arrays:
        lengths = {name: len(arrays[name]) if arrays[name].ndim else 1 for name in arrays.files}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UsageError(f"the arrays of {path} differ in length ({said}): each is one row")
        for name in arrays.files:
            values = arrays[name]
            if values.ndim == 1:
                columns[name] = values
                continue
            flat = values.reshape(len(values), -1)
            columns |= {f"{name}_{index}": flat[:, index] for index in range(flat.shape[1])}
    return pl.DataFrame(columns)


def check_types(frame: pl.DataFrame, path: Path) -> None:
    """Raise UsageError where a column holds what is neither a number nor a category."""
    for name, dtype in frame.schema.items():
        if dtype.is_nested() or dtype in {pl.Object, pl.Binary}:
            raise UsageError(
                f"column {name!r} of {path} holds {dtype}, which is neither a number nor a "
                f"category: leave it out with --ignore {name}"
            )


def check_columns(frame: pl.DataFrame, path: Path, option: str, names: tuple[str, ...]) -> None:
    """Raise UsageError where an option names a column that is not there."""
    for name in names:
        if name not in frame.columns:
            raise unknown(f"column of {path} for {option}", name, frame.columns)


def refuse_text_among_numbers(frame: pl.DataFrame, path: Path, name: str, otherwise: str) -> None:
    """Raise UsageError where a column is one of numbers but for a few cells."""
    texts = frame[name].str.strip_chars()
    numbers = texts.cast(pl.Float64, strict=False)
    bad = (numbers.is_null() & texts.is_not_null()).arg_true()
    given = texts.len() - texts.null_count()
    if given and bad.len() and (given - bad.len()) / given >= _MOSTLY:
        more = f" (and {bad.len() - 1} more such cells)" if bad.len() > 1 else ""
        raise UsageError(
            f"column {name!r} of {path} is numbers except for {texts[int(bad[0])]!r} in row "
            f"{int(bad[0]) + 1}{more}: correct or empty it, or say {otherwise}"
        )
