"""Prints what each way of calling the function costs over PyTorch's own, beside its bound.

Each road of ways.py is timed on one thread at four sizes, in rounds that visit ours and PyTorch's
in turn: the figure is the median of the rounds' ratios. What forward keeps for backward is in
bytes, over PyTorch's. All of it on three installations, each in a process from which the others'
files are hidden: with the C++ entry, with the kernels' library alone, and with neither.

`--write` puts the figures into roads.json beside this file, and from there the tables into
docs/performance.md and the costs of transforms into docs/compatibility.md.
"""

import argparse
import importlib.metadata
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pages import PERFORMANCE as PAGE
from pages import filled, markdown

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "benchmarks" / "roads.json"

SIZES = (64, 4_096, 65_536, 1_048_576)
SUMMARY = 65_536  # the size at which the page shows all installations side by side
# What is hidden of the package: to Python, None in sys.modules is a module that is not there.
RELEASE = importlib.metadata.version("torch").split("+")[0].replace(".", "_")
ENTRY, LIBRARY = f"softplus.ops.cpu._torch_{RELEASE}", "softplus.ops.cpu._kernels"
INSTALLATIONS = {
    "the C++ entry": (),
    "the library alone": (ENTRY,),
    "no library": (ENTRY, LIBRARY),
}
# torch.compile in one process: those it starts by default would disturb.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


@dataclass(frozen=True)
class Figure:
    """What a road costs and keeps over PyTorch's own at a size; a ratio of None is an error."""

    installation: str
    road: str
    run: str
    size: int
    bound: float | None
    ratio: float | None
    microseconds: float | None  # ours
    kept: float | None  # None where PyTorch's keeps nothing

    @property
    def cost(self) -> str:
        """The ratio as tables show it, in bold where it misses its bound."""
        if self.ratio is None:
            return "**raises**"
        return f"**{self.ratio:.2f}**" if self.costs_too_much else f"{self.ratio:.2f}"

    @property
    def keeps(self) -> str:
        """What is kept as tables show it."""
        if self.kept is None:
            return ""
        return f"**{self.kept:.2f}**" if self.keeps_too_much else f"{self.kept:.2f}"

    @property
    def costs_too_much(self) -> bool:
        """Whether the ratio misses its bound, as shown."""
        return self.ratio is None or round(self.ratio, 2) > (self.bound or math.inf)

    @property
    def keeps_too_much(self) -> bool:
        """Whether it keeps more than PyTorch's, as shown."""
        return round(self.kept or 0, 2) > 1


# Measuring


def here(options: argparse.Namespace) -> None:
    """Measure what this process sees of the package, and print each figure as a line of JSON."""
    sys.modules.update(dict.fromkeys(INSTALLATIONS[options.here]))
    import torch  # noqa: PLC0415
    from ways import ROADS, measure  # noqa: PLC0415 -- after hiding

    from softplus.lab import timing  # noqa: PLC0415
    from softplus.ops import cpu  # noqa: PLC0415

    lacking = {
        "no library": cpu.absent,
        "the library alone": cpu.entry_absent,
        "the C++ entry": None,
    }
    live = next(name for name, why in lacking.items() if why or name == "the C++ entry")
    if live != options.here:
        sys.exit(f"this is {live}, not {options.here}: `python -m softplus` says why")

    # Each function is compiled at each size, with grad and without.
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001
    kernels = LIBRARY not in INSTALLATIONS[options.here]
    with timing.threads(1):
        for road in ROADS:
            for size in options.sizes if options.only in road.name else ():
                limit = road.limit(size, kernels=kernels)
                figure = Figure(
                    options.here,
                    road.name,
                    road.run,
                    size,
                    limit if limit < math.inf else None,
                    **measure(road, size, options.seconds),
                )
                print(json.dumps(asdict(figure)), flush=True)


def there(installation: str, options: argparse.Namespace) -> Iterator[Figure]:
    """Measure an installation in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--here", installation]
    command += ["--only", options.only, "--seconds", str(options.seconds)]
    command += ["--sizes", *map(str, options.sizes)]
    with subprocess.Popen(  # noqa: S603 -- this program
        command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        for line in process.stdout or ():
            yield Figure(**json.loads(line))
    if process.returncode:
        sys.exit(process.returncode)


# Showing


def by_road(figures: list[Figure]) -> list[list[Figure]]:
    """Return the figures of each road and way of running it, by size."""
    rows: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        rows.setdefault((figure.road, figure.run), []).append(figure)
    return [sorted(row, key=lambda figure: figure.size) for row in rows.values()]


def cells(row: list[Figure]) -> list[str]:
    """Return a row of a table: what a road costs, its bounds, and what it keeps."""
    bounds = dict.fromkeys(f"{figure.bound:g}" for figure in row if figure.bound)
    most = max(row, key=lambda figure: figure.kept or 0)
    costs = [figure.cost for figure in row]
    return [row[0].road, row[0].run, *costs, " / ".join(bounds), most.keeps]


def summary(figures: list[Figure]) -> str:
    """Return the table of all installations at one size."""
    rows = by_road([figure for figure in figures if figure.size == SUMMARY])
    installations = dict.fromkeys(figure.installation for figure in figures)
    heads = [f"{SUMMARY:,} elements", "", *installations, "bound", "kept"]
    return markdown(heads, [cells(row) for row in rows])


def every_size(figures: list[Figure]) -> str:
    """Return a table for each installation, and how many bounds it misses."""
    parts = []
    for installation in dict.fromkeys(figure.installation for figure in figures):
        these = [figure for figure in figures if figure.installation == installation]
        missed = sum(figure.costs_too_much or figure.keeps_too_much for figure in these)
        sizes = dict.fromkeys(f"{figure.size:,}" for figure in these)
        heads = ["road", "", *sizes, "bounds", "kept"]
        parts += [
            f"### With {installation}\n\n{missed} of {len(these)} figures miss a bound.\n",
            markdown(heads, [cells(row) for row in by_road(these)]),
        ]
    return "\n".join(parts)


def committed() -> list[Figure]:
    """Return the figures that were written last."""
    return [Figure(**figure) for figure in json.loads(FIGURES.read_text(encoding="utf-8"))]


def renewed(old: list[Figure], new: list[Figure]) -> list[Figure]:
    """Return figures of which some were measured again."""
    both = [*old, *new]
    return list({(f.installation, f.road, f.run, f.size): f for f in both}.values())


def page(text: str, figures: list[Figure]) -> str:
    """Return the text of the page with the tables of these figures between its marks."""
    parts = {"summary": summary(figures), "every size": every_size(figures)}
    return filled(text, "roads", parts)


def write(figures: list[Figure]) -> None:
    """Put the figures into their file, and from there into the pages."""
    lines = ",\n".join(json.dumps(asdict(figure)) for figure in figures)
    FIGURES.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
    costs = [sys.executable, ROOT / "tests" / "compatibility.py", "--costs"]
    subprocess.run(costs, check=True)  # noqa: S603 -- of this checkout


def main() -> None:
    """Measure, print, and write where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the time: a look")
    parser.add_argument("--write", action="store_true", help="put the figures into the documents")
    parser.add_argument("--only", default="", metavar="TEXT", help="roads with this in their name")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--installations", nargs="+", default=INSTALLATIONS, choices=INSTALLATIONS)
    parser.add_argument("--seconds", type=float, default=0.25, help="for each figure")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        here(options)
        return
    if options.quick:
        options.seconds /= 5
    figures = []
    for installation in options.installations:
        for figure in there(installation, options):
            print(figure.road, figure.run, f"{figure.size:,}", figure.cost, file=sys.stderr)
            figures.append(figure)
    print(every_size(figures))
    if options.write:
        everything = list(options.installations) == list(INSTALLATIONS) and not options.only
        write(figures if everything else renewed(committed(), figures))


if __name__ == "__main__":
    main()
