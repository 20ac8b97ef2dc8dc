"""The examples: each runs, prints what it promises and draws; the gallery shows them all."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib import image

import softplus

ROOT = Path(__file__).parent.parent
gallery = SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "gallery.py")))
# What each prints, among other things and whatever the figures. A figure is FIGURE.
FIGURE = r"[+-]?\d[\d,.]*"
PRINTED = {
    "quickstart": [
        rf"^relu +{FIGURE} +{FIGURE}$",
        rf"^softplus +{FIGURE} +{FIGURE}$",
        "^softplus against relu: ",
    ],
}


def run(name, picture):
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            ROOT / "examples" / f"{name}.py",
            "--quick",
            "--picture",
            picture,
        ],
        env={**os.environ, "PYTHONPATH": str(Path(softplus.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", gallery.EXAMPLES)
def test_an_example_prints_its_result_and_draws_its_picture(name, tmp_path):
    picture = tmp_path / "picture.png"
    result = run(name, picture)
    assert result.returncode == 0, result.stderr
    for pattern in PRINTED[name]:
        assert re.search(pattern, result.stdout, re.MULTILINE), (pattern, result.stdout)
    assert_drawn(picture)


def assert_drawn(picture):
    """A picture of a size to look at, of which a part is not background."""
    pixels = image.imread(picture)
    height, width = pixels.shape[:2]
    assert 300 <= height <= 2000
    assert 600 <= width <= 2000
    assert (pixels != pixels[0, 0]).any(axis=2).mean() > 0.005


@pytest.mark.parametrize("name", gallery.EXAMPLES)
def test_an_example_is_short(name):
    assert len((ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 150


def test_the_gallery_has_every_example():
    assert sorted(gallery.EXAMPLES) == sorted(
        path.stem for path in (ROOT / "examples").glob("*.py")
    )
    assert sorted(PRINTED) == sorted(gallery.EXAMPLES)


def test_the_gallery_says_what_the_examples_say():
    page = gallery.PAGE.read_text(encoding="utf-8")
    printed = gallery.kept(page)
    assert list(printed) == list(gallery.EXAMPLES)
    assert all(text.strip() for text in printed.values())
    assert page == gallery.page(printed)


@pytest.mark.parametrize("name", gallery.EXAMPLES)
def test_the_gallery_has_the_pictures_that_the_examples_draw(name):
    assert_drawn(gallery.PICTURES / f"{name}.png")
    for pattern in PRINTED[name]:
        printed = gallery.kept(gallery.PAGE.read_text(encoding="utf-8"))[name]
        assert re.search(pattern, printed, re.MULTILINE), pattern
