"""The small study that the tests of the lab share."""

import pytest

from softplus.lab import activations, runner, study
from softplus.lab.store import Store


def small(**changes):
    """Return the settings of a study that takes seconds."""
    settings = {
        "task": "digits",
        "activations": tuple(activations.parse_list("relu,softplus")),
        "depth": 2,
        "width": 16,
        "epochs": 1,
        "seeds": 2,
        "learning_rates": (1e-3, 1e-2),
        "margin": 1.0,
    }
    return study.Settings(**{**settings, **changes})


@pytest.fixture
def settings():
    """Return the function that gives the settings of a study that takes seconds."""
    return small


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Return the results of one small study, for the tests of what is made of them."""
    three = tuple(activations.parse_list("relu,softplus,gelu"))
    with Store(tmp_path_factory.mktemp("study") / "study.sqlite") as store:
        return runner.run(small(activations=three), store, 1, lambda *_: None)
