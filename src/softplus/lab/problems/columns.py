"""The columns of a table as numbers: what each of them is, and what a network is given for it."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.preprocessing import OneHotEncoder

from softplus.lab.errors import UsageError
from softplus.lab.problems import reading

# Of more categories than this, or of fewer rows, those that are left are one category, "other".
_MOST_CATEGORIES = 30
_ROWS_A_CATEGORY = 5
_NAMES_OF_ROWS = re.compile(r"(.*[_ ])?(id|uuid|guid|index|row|key)|unnamed.*|", re.IGNORECASE)


@dataclass(frozen=True)
class Encoded:
    """A table as numbers: measured columns, of which missing values are NaN, and 0 or 1.

    The second kind are categories, and which values were missing.
    """

    numbers: np.ndarray
    flags: np.ndarray
    notes: tuple[str, ...]


def encode(
    frame: pl.DataFrame, path: Path, categorical: tuple[str, ...], ignored: tuple[str, ...]
) -> Encoded:
    """Return the columns of a frame as numbers; which were left out, and why, is in the notes.

    Raises:
        UsageError: Text stands in a column of numbers, or no column is left.
    """
    left_out = dict.fromkeys(ignored, "ignored, as asked")
    numbers: dict[str, np.ndarray] = {}
    texts: list[str] = []
    for name in frame.columns:
        column = frame[name]
        if name in ignored:
            continue
        if column.n_unique() == 1:
            left_out[name] = "always the same"
        elif name in categorical or _is_text(frame, path, name):
            if column.n_unique() > frame.height / 2:
                left_out[name] = f"{column.n_unique():,} different texts in {frame.height:,} rows"
            else:
                texts.append(name)
        elif _names_rows(column):
            left_out[name] = "a name of the rows"
        else:
            numbers[name] = _as_floats(column, path)
    if not numbers and not texts:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items()) or "no other column"
        raise UsageError(f"no column of {path} is left to learn from ({reasons})")
    flags, groups = _one_hot(frame, texts)
    missing = {name: np.isnan(values) for name, values in numbers.items()}
    missing = {name: mask for name, mask in missing.items() if mask.any()}
    rows = frame.height
    return Encoded(
        np.column_stack(list(numbers.values())) if numbers else np.empty((rows, 0)),
        np.column_stack([flags, *missing.values()]),
        _notes(list(numbers), groups, missing, left_out),
    )


def _is_text(frame: pl.DataFrame, path: Path, name: str) -> bool:
    dtype = frame.schema[name]
    if dtype == pl.String:
        otherwise = f"--categorical {name} or --ignore {name}"
        reading.refuse_text_among_numbers(frame, path, name, otherwise)
    return dtype in {pl.String, pl.Categorical, pl.Enum}


def _names_rows(column: pl.Series) -> bool:
    """Whether it is a running number, or is unique and called an id."""
    if not column.dtype.is_integer() or column.n_unique() < len(column):
        return False
    return bool(_NAMES_OF_ROWS.fullmatch(column.name))


def _as_floats(column: pl.Series, path: Path) -> np.ndarray:
    """Return numbers, truth values or times (in days) as floats, missing ones as NaN."""
    if column.dtype.is_temporal():
        if column.dtype == pl.Date:
            column = column.cast(pl.Datetime("us"))
        column = column.to_physical() / 86_400e6
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise UsageError(
            f"column {column.name!r} of {path} is infinite in {int(np.isinf(values).sum())} rows "
            f"(first: row {row + 1}); correct or empty these cells"
        )
    return values


def _one_hot(frame: pl.DataFrame, names: list[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Return the categories as columns of 0 and 1, and how many columns each has.

    They are taken from all rows, so that the width is the same on every split. A missing value is
    a category.
    """
    if not names:
        return np.empty((frame.height, 0)), {}
    encoder = OneHotEncoder(
        min_frequency=_ROWS_A_CATEGORY,
        max_categories=_MOST_CATEGORIES,
        sparse_output=False,
        dtype=np.float32,
    )
    texts = frame.select(pl.col(names).cast(pl.String).fill_null("missing")).to_numpy()
    flags = encoder.fit_transform(texts)
    columns = encoder.get_feature_names_out([str(index) for index in range(len(names))])
    counts = [str(column).partition("_")[0] for column in columns]
    return flags, {name: counts.count(str(index)) for index, name in enumerate(names)}


def _notes(
    numbers: list[str],
    groups: dict[str, int],
    missing: dict[str, np.ndarray],
    left_out: dict[str, str],
) -> tuple[str, ...]:
    """Return what was done, in words."""
    found = []
    if numbers:
        found.append(
            f"{len(numbers)} columns of numbers, brought to mean 0 and variance 1 on the training "
            "rows"
        )
    if groups:
        said = _listed([f"{name} ({count})" for name, count in groups.items()])
        found.append(f"categories as columns of 0 and 1: {said}")
    if missing:
        said = _listed([f"{name} ({int(mask.sum()):,} rows)" for name, mask in missing.items()])
        found.append(
            "missing values filled with the median of the training rows, and marked in a column "
            f"of their own: {said}"
        )
    if left_out:
        said = _listed([f"{name} ({why})" for name, why in left_out.items()])
        found.append(f"columns left out: {said}")
    return tuple(found)


def _listed(texts: list[str]) -> str:
    most = 8
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
