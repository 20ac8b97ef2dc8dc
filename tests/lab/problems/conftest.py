"""Tables that the tests of the problems read."""

import numpy as np
import polars as pl
import pytest

ROWS = 200


@pytest.fixture
def frame():
    """Return a table with every kind of column, of which `y` is to be predicted."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=ROWS)
    colour = generator.choice(["red", "green", "blue"], size=ROWS)
    return pl.DataFrame(
        {
            "id": np.arange(ROWS) + 1000,
            "x": x,
            "half": [None if row % 4 == 0 else float(row) for row in range(ROWS)],
            "colour": colour,
            "same": np.ones(ROWS),
            "name": [f"name {row}" for row in range(ROWS)],
            "flag": x > 1,
            "day": pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 7, 19), eager=True),
            "group": np.arange(ROWS) // 10,
            "y": np.where(x + (colour == "red") > 0.5, "yes", "no"),
            "price": np.exp(x),
        }
    )


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a text or a table to a file and returns its path."""

    def written(content, name="table.csv"):
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content)
        else:
            getattr(content, {"csv": "write_csv", "parquet": "write_parquet"}[name.split(".")[-1]])(
                path
            )
        return path

    return written
