"""The data sets of the atlas: real ones that ship inside packages, with source and licence."""

import importlib.util
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from sklearn import datasets

# Of a larger set so many rows are drawn, once: a training of the lab takes about 600 steps anyway.
MOST_ROWS = 4_000

CLASSES, NUMBERS, POSITIVE = "classification", "regression", "positive targets"
SMOOTH = "smooth functions"
KINDS = (CLASSES, NUMBERS, POSITIVE, SMOOTH)


@dataclass(frozen=True)
class Dataset:
    """A problem of the atlas: a table and what is predicted in it, or a problem by its own name.

    `source` says who collected the data, `terms` what the package says of its use.
    """

    name: str
    kind: str
    predicted: str
    package: str
    source: str
    terms: str
    read: Callable[[], pl.DataFrame] | None = None
    target: str = "target"
    ignored: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: bool = False

    def write(self, folder: Path) -> Path:
        """Write the rows, at most MOST_ROWS, as a CSV file that is there already or is made."""
        assert self.read is not None  # noqa: S101  # only a table is written
        rows = self.read()
        if rows.height > MOST_ROWS:
            rows = rows.sample(MOST_ROWS, seed=0)
        path = folder / f"{self.name.replace(' ', '-')}.csv"
        text = rows.write_csv()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        return path


def inside(package: str, file: str) -> Callable[[], pl.DataFrame]:
    """Return what reads a file of a package, without importing the package."""

    def read() -> pl.DataFrame:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"the atlas needs {package}: pip install 'softplus[atlas]'")
        path = Path(spec.submodule_search_locations[0]) / file
        if path.suffix == ".json":
            return pl.read_json(path)
        content = path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(BytesIO(content)) as archive:
                content = archive.read(archive.namelist()[0])
        return pl.read_csv(content, infer_schema_length=None, null_values=["NA"])

    return read


def classes_of(load: Callable[..., Any]) -> Callable[[], pl.DataFrame]:
    """Return what reads a classification of scikit-learn."""

    def read() -> pl.DataFrame:
        data = load()
        frame = pl.DataFrame(data.data, schema=[str(n) for n in data.feature_names], orient="row")
        return frame.with_columns(
            pl.Series("target", [str(data.target_names[each]) for each in data.target])
        )

    return read


def any_affair() -> pl.DataFrame:
    """Return the survey of marriages, with whether there was an affair in the place of how much."""
    rows = inside("statsmodels", "datasets/fair/fair.csv")()
    return rows.with_columns((pl.col("affairs") > 0).alias("target")).drop("affairs")


def sunspots() -> pl.DataFrame:
    """Return the yearly activity of the sun, each year with the eleven before it."""
    activity = inside("statsmodels", "datasets/sunspots/sunspots.csv")()["SUNACTIVITY"]
    lags = {f"{lag} years ago": activity.shift(lag) for lag in range(1, 12)}
    return pl.DataFrame({**lags, "target": activity}).drop_nulls()


SKLEARN, STATSMODELS, RIVER = "scikit-learn", "statsmodels", "river"
VEGA, PLOTNINE, ASE = "vega_datasets", "plotnine", "ase"
# The licence of each package, which is that of the file where nothing else is said of it.
LICENCES = {
    SKLEARN: "BSD-3-Clause",
    STATSMODELS: "BSD-3-Clause",
    RIVER: "BSD-3-Clause",
    VEGA: "MIT",
    PLOTNINE: "MIT",
    ASE: "LGPL-2.1-or-later",
    "softplus": "BSD-3-Clause",
}
UCI = "UCI Machine Learning Repository"
PUBLIC = "public domain"

DATASETS = [
    Dataset(
        "iris",
        CLASSES,
        "which of 3 species",
        SKLEARN,
        f"Fisher 1936, {UCI}",
        "",
        classes_of(datasets.load_iris),
    ),
    Dataset(
        "wine",
        CLASSES,
        "which of 3 growers",
        SKLEARN,
        f"Forina et al. 1988, {UCI}",
        "",
        classes_of(datasets.load_wine),
    ),
    Dataset(
        "breast cancer",
        CLASSES,
        "malignant or benign",
        SKLEARN,
        f"Wolberg et al. 1995, {UCI}",
        "",
        classes_of(datasets.load_breast_cancer),
    ),
    Dataset(
        "digits",
        CLASSES,
        "which of 10 digits",
        SKLEARN,
        f"Alpaydin and Kaynak 1998, {UCI}",
        "",
    ),
    Dataset(
        "penguins",
        CLASSES,
        "the sex of a penguin",
        PLOTNINE,
        "Gorman et al. 2014, Palmer Station",
        "",
        inside("plotnine", "data/penguins.csv"),
        "sex",
    ),
    Dataset(
        "phishing",
        CLASSES,
        "whether a website is a fraud",
        RIVER,
        f"Abdelhamid et al. 2014, {UCI}",
        "",
        inside("river", "datasets/phishing.csv.gz"),
        "is_phishing",
    ),
    Dataset(
        "image segments",
        CLASSES,
        "which of 7 surfaces",
        RIVER,
        f"Statlog, {UCI}",
        "",
        inside("river", "datasets/segment.csv.zip"),
        "category",
    ),
    Dataset(
        "affairs",
        CLASSES,
        "whether there was an affair",
        STATSMODELS,
        "Fair 1978",
        "included with permission of the author",
        any_affair,
    ),
    Dataset(
        "seals",
        NUMBERS,
        "how far east seals move, by place",
        PLOTNINE,
        "Brillinger et al. 2004",
        "",
        inside("plotnine", "data/seals.csv"),
        "delta_long",
        ("delta_lat",),
    ),
    Dataset(
        "Seattle weather",
        NUMBERS,
        "the lowest temperature of a day",
        VEGA,
        "NOAA, 2012 to 2015",
        PUBLIC,
        inside("vega_datasets", "_data/seattle-weather.csv"),
        "temp_min",
    ),
    Dataset(
        "solar flares",
        NUMBERS,
        "how many C-class flares in 24 hours",
        RIVER,
        f"Bradshaw 1989, {UCI}",
        "",
        inside("river", "datasets/solar-flare.csv.zip"),
        "c-class-flares",
        ("m-class-flares", "x-class-flares"),
        numeric=True,
    ),
    Dataset(
        "doctor visits",
        NUMBERS,
        "how many a year",
        STATSMODELS,
        "RAND Health Insurance Experiment, Cameron and Trivedi 2005",
        PUBLIC,
        inside("statsmodels", "datasets/randhie/randhie.csv"),
        "mdvis",
        numeric=True,
    ),
    Dataset(
        "inflation",
        NUMBERS,
        "US inflation of a quarter",
        STATSMODELS,
        "Federal Reserve Bank of St. Louis, 1959 to 2009",
        PUBLIC,
        inside("statsmodels", "datasets/macrodata/macrodata.csv"),
        "infl",
        ("realint",),
    ),
    Dataset(
        "sunspots",
        NUMBERS,
        "the activity of a year from eleven before",
        STATSMODELS,
        "National Geophysical Data Center, 1700 to 2008",
        PUBLIC,
        sunspots,
    ),
    Dataset(
        "diabetes",
        POSITIVE,
        "disease progression after a year",
        SKLEARN,
        "Efron et al. 2004",
        "",
    ),
    Dataset(
        "food",
        POSITIVE,
        "spending on food, by income",
        STATSMODELS,
        "Engel 1857, Koenker and Bassett 1982",
        PUBLIC,
        inside("statsmodels", "datasets/engel/engel.csv"),
        "foodexp",
    ),
    Dataset(
        "investment",
        POSITIVE,
        "investment of a firm and year",
        STATSMODELS,
        "Grunfeld 1950, Kleiber and Zeileis 2008",
        PUBLIC,
        inside("statsmodels", "datasets/grunfeld/grunfeld.csv"),
        "invest",
    ),
    Dataset(
        "cars",
        POSITIVE,
        "miles per gallon",
        VEGA,
        "Donoho and Ramos 1982",
        "",
        inside("vega_datasets", "_data/cars.json"),
        "Miles_per_Gallon",
        ("Name",),
        numeric=True,
    ),
    Dataset(
        "chicks",
        POSITIVE,
        "weight, by age and diet",
        RIVER,
        "Crowder and Hand 1990",
        "",
        inside("river", "datasets/chick-weights.csv"),
        "weight",
        ("chick",),
        ("diet",),
    ),
    Dataset(
        "diamonds",
        POSITIVE,
        "the price",
        PLOTNINE,
        "Wickham 2016, ggplot2",
        "",
        inside("plotnine", "data/diamonds.csv"),
        "price",
    ),
    Dataset(
        "poverty",
        POSITIVE,
        "the share of the poor in a county",
        PLOTNINE,
        "US census of the Midwest, ggplot2",
        "",
        inside("plotnine", "data/midwest.csv"),
        "percbelowpoverty",
        (
            "PID",
            "poppovertyknown",
            "percpovertyknown",
            "percchildbelowpovert",
            "percadultpoverty",
            "percelderlypoverty",
        ),
    ),
    Dataset("sdf", SMOOTH, "the distance from a torus, and normals", "softplus", "computed", ""),
    Dataset("Cu4 forces", SMOOTH, "forces on 4 atoms of copper", ASE, "computed by EMT", ""),
    Dataset("Ag6 forces", SMOOTH, "forces on 6 atoms of silver", ASE, "computed by EMT", ""),
    Dataset("Al7 forces", SMOOTH, "forces on 7 atoms of aluminium", ASE, "computed by EMT", ""),
]
