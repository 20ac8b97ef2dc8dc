"""A headless Chromium for the tests that open pages, and what they skip without."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

REASON = "what `make test-slow` installs is missing"
playwright = pytest.importorskip("playwright.sync_api", reason=REASON)
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=REASON)

_FILE = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
marks = [
    pytest.mark.slow,
    pytest.mark.skipif(_FILE is None, reason="no chromium on the path, and none in $CHROMIUM"),
]


@contextmanager
def started() -> Iterator[Any]:
    """Return the browser, which ends afterwards."""
    with playwright.sync_playwright() as running:
        # As root, as in a container, its sandbox does not start.
        chromium = running.chromium.launch(executable_path=_FILE, args=["--no-sandbox"])
        yield chromium
        chromium.close()
