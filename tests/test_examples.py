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
# What each prints, among other things and whatever the figures; N is a figure.
N = r"[+-]?\d[\d,.]*%?"
PRINTED = {
    "quickstart": [
        rf"^relu +{N} +{N}$",
        rf"^softplus +{N} +{N}$",
        r"^softplus against relu: \w",
    ],
    "compare_my_script": [
        rf"^relu +at learning rate {N}: {N}, {N}",
        rf"^softplus +at learning rate {N}: {N}, {N}",
        r"^softplus against relu: \w",
    ],
    "signed_distance": [
        rf"^softplus +{N}/1000 +{N} degrees +{N} ms$",
        r"^surface, .* less softplus: .+, so: \w",
    ],
    "force_field": [rf"^relu( +{N}){{4}}$", r"^softplus against relu: \w"],
    "uncertainty": [
        rf"^Softplus +{N} +{N} +{N} +{N}$",
        rf"^exp, rescaled +{N} +{N} +{N} +{N}$",
        r"^exp against Softplus: \w",
    ],
    "positive_target": [
        rf"^Gamma, Softplus mean +{N} +{N} +{N} +{N}$",
        rf"^Gaussian +{N} +{N} +{N} +{N}$",
        r"^Gaussian against Gamma, Softplus mean: \w",
    ],
    "deep_plain_network": [
        rf"^ReLU, He +{N} +({N}|never) +{N}$",
        rf"^Softplus, looks linear +{N} +({N}|never) +{N}$",
        r"^Softplus, looks linear against ReLU, He: \w",
    ],
    "train_smooth_deploy_sparse": [
        rf"^an ONNX file of {N} \w",
        rf"^onnxruntime: {N}e",
        rf"^{N} of the time",
    ],
    "smooth_saliency": [rf"^ReLU +{N} +{N} +{N}$", r" against .+: \w"],
}

# What some need beyond the lab, as the extra `examples` brings it.
NEEDED = {
    "signed_distance": "skimage",
    "force_field": "ase",
    "train_smooth_deploy_sparse": "onnxruntime",
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
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], reason="pip install '.[examples]' brings what it needs")
    picture = tmp_path / "picture.png"
    result = run(name, picture)
    assert result.returncode == 0, result.stderr
    assert_printed(name, result.stdout)
    assert result.stdout.endswith(f"\nPicture: {picture}\n")
    assert_drawn(picture)


def assert_printed(name, text):
    for pattern in PRINTED[name]:
        assert re.search(pattern, text, re.MULTILINE), f"{pattern} is not in:\n{text}"


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
def test_the_gallery_has_what_an_example_prints_and_draws(name):
    assert_drawn(gallery.PICTURES / f"{name}.png")
    assert_printed(name, gallery.kept(gallery.PAGE.read_text(encoding="utf-8"))[name])
