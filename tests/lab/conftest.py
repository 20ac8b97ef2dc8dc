"""The small study that the tests of the lab share."""

import pytest

from softplus.lab import activations, engines, problems, runner
from softplus.lab.settings import Settings
from softplus.lab.store import Store


def small(problem="digits", **changes):
    """Return the settings of a study that takes seconds; a change may be the problem's."""
    of_problem = {"depth": 2, "width": 16, "epochs": 1}
    of_problem |= {name: changes.pop(name) for name in list(changes) if name in of_problem}
    settings = {
        "problem": problems.load(problem, **of_problem),
        "activations": tuple(activations.parse_list("relu,softplus")),
        "seeds": 2,
        "learning_rates": (1e-3, 1e-2),
        "margin": 1.0,
    }
    return Settings(**{**settings, **changes})


@pytest.fixture
def settings():
    """Return the function that gives the settings of a study that takes seconds."""
    return small


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """Return the results of one small study, for the tests of what is made of them."""
    three = tuple(activations.parse_list("relu,softplus,gelu"))
    with Store(tmp_path_factory.mktemp("study") / "study.sqlite") as store:
        return runner.run(small(activations=three), store, engines.choose(), lambda *_: None)
