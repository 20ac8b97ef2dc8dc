"""The lab's parts: activations, tasks, measures, trials, the store, the engines, the study."""

import json
import math
import os
import signal
import sqlite3
import time

import pytest
import torch
from torch import nn

from softplus import ShiftedSoftplus, Softplus
from softplus.lab import (
    activations,
    cost,
    engines,
    measures,
    report,
    study,
    summary,
    tasks,
    trials,
)
from softplus.lab.errors import UsageError
from softplus.lab.store import Store

RELU, SOFTPLUS = activations.parse_list("relu,softplus")


def settings(**changes):
    """Return the settings of a study that takes seconds."""
    small = {
        "task": "digits",
        "activations": (RELU, SOFTPLUS),
        "depth": 2,
        "width": 16,
        "epochs": 1,
        "seeds": 2,
        "learning_rates": (1e-3, 1e-2),
        "margin": 1.0,
    }
    return study.Settings(**{**small, **changes})


def run(store, jobs=1, **changes):
    """Return the results of that study and how many trials it counted."""
    counts = []
    results = study.run(settings(**changes), store, jobs, lambda _, count: counts.append(count))
    return results, counts


@pytest.mark.parametrize(
    ("spelling", "module"),
    [
        ("relu", nn.ReLU()),
        ("softplus", Softplus()),
        ("softplus:beta=5", Softplus(5)),
        ("shifted_softplus:beta=0.5", ShiftedSoftplus(0.5)),
        ("gelu", nn.GELU()),
        ("silu", nn.SiLU()),
        ("elu:alpha=2", nn.ELU(2)),
        ("leaky_relu:slope=0.2", nn.LeakyReLU(0.2)),
    ],
)
def test_a_spelling_builds_its_module(spelling, module):
    activation = activations.parse(spelling)
    x = torch.linspace(-4, 4, 33)
    assert type(activation.build()) is type(module)
    assert torch.equal(activation.build()(x), module(x))
    assert activations.parse(activation.name) == activation


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("sofplus", ["did you mean softplus?", "leaky_relu"]),
        ("softplus:bta=1", ["did you mean beta?"]),
        ("softplus:beta=0", ["beta of softplus", "'0'"]),
        ("softplus:beta=-1", ["'-1'"]),
        ("softplus:beta=nan", ["'nan'"]),
        ("softplus:beta=", ["beta of softplus"]),
        ("relu:beta=1", ["takes no parameter"]),
    ],
)
def test_a_wrong_spelling_is_told_what_is_right(spelling, words):
    with pytest.raises(UsageError) as error:
        activations.parse(spelling)
    assert all(word in str(error.value) for word in words)


def test_shapes_are_seen_by_autograd():
    assert RELU.shape() == "kink at 0 (slope jumps by 1), convex, monotone"
    assert SOFTPLUS.shape() == "smooth, convex, monotone"
    assert activations.parse("gelu").shape() == "smooth, not convex, not monotone"
    assert activations.parse("elu:alpha=2").shape().startswith("kink at 0 (slope jumps by -1)")


@pytest.mark.parametrize("name", tasks.NAMES)
def test_a_task_is_split_into_disjoint_parts_by_its_seed(name):
    task = tasks.load(name)
    parts = task.split(3)
    assert torch.cat(parts).sort().values.equal(torch.arange(len(task.inputs)))
    assert [len(part) for part in parts[1:]] == [len(task.inputs) // 5] * 2
    assert all(map(torch.equal, parts, task.split(3)))
    assert not torch.equal(parts[0], task.split(4)[0])


def test_inputs_are_standardised_on_the_training_rows_only():
    task = tasks.load("diabetes")
    train, _, test = task.split(0)
    inputs = task.prepared(train)
    assert torch.allclose(inputs[train].mean(dim=0), torch.zeros(10), atol=1e-5)
    assert torch.allclose(inputs[train].std(dim=0, correction=0), torch.ones(10), atol=1e-5)
    assert not torch.allclose(inputs[test].mean(dim=0), torch.zeros(10), atol=1e-3)


def test_the_diabetes_head_gives_a_positive_mean_and_scale_and_the_gaussian_likelihood():
    head = tasks.PositiveMeanAndScale(unit=100.0)
    outputs = head(torch.tensor([[-30.0, -30.0], [0.0, 1.0]]))
    assert (outputs > 0).all()
    targets = torch.tensor([80.0, 150.0])
    mean, scale = outputs.unbind(dim=1)
    expected = -torch.distributions.Normal(mean, scale).log_prob(targets).mean()
    assert tasks.gaussian_nll(outputs, targets) == pytest.approx(expected.item(), rel=1e-5)


def test_nan_in_data_is_refused_with_its_place():
    data = tasks.load("diabetes")
    inputs = data.inputs.clone()
    inputs[7, 2] = math.nan
    with pytest.raises(UsageError, match=r"1 of 442 rows.*inputs \(first: row 7\)"):
        tasks.Task(**{**vars(data), "inputs": inputs})


def hand_made(activation):
    """Return measures of one layer of three units on four examples: values known by hand."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), activation.build(), nn.Linear(3, 1))
    model.append(nn.Identity())
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3))
    inputs = torch.tensor(
        [[-20.0, 1.0, -1.0], [-15.0, 2.0, -2.0], [-12.0, 3.0, 4.0], [-9.0, 6.0, 1.0]]
    )
    return measures.of_activations(model, activation, inputs)


def test_the_measures_of_a_relu_layer_known_by_hand():
    found = hand_made(RELU)
    assert found["dead"] == pytest.approx(1 / 3)
    assert found["dormant"] == pytest.approx(1 / 3)
    assert found["sparsity"] == pytest.approx(6 / 12)
    assert found["share_negative"] == pytest.approx(6 / 12)
    assert found["output_negative"] == 0.0
    assert found["recovered_negative"] == 0.0
    assert found["output_positive"] == pytest.approx((1 + 2 + 3 + 6 + 4 + 1) / 6)
    assert found["recovered_positive"] == pytest.approx(1.0)
    assert found["smallest_gradient"] == 0.0
    assert found["underflow"] == pytest.approx(6 / 12)
    assert sum(found["histogram"]) == pytest.approx(1.0)


def test_the_measures_of_a_softplus_layer_known_by_hand():
    found = hand_made(SOFTPLUS)
    # sigmoid(-9) = 1.2e-4 is the largest derivative of the first unit: dead by the rule.
    assert found["dead"] == pytest.approx(1 / 3)
    assert found["sparsity"] == 0.0
    assert found["underflow"] == 0.0
    assert found["smallest_gradient"] == pytest.approx(1 / (1 + math.exp(20)), rel=1e-5)
    negative = torch.tensor([-20.0, -15.0, -12.0, -9.0, -1.0, -2.0], dtype=torch.float64)
    outputs = torch.log1p(negative.exp())
    assert found["output_negative"] == pytest.approx(outputs.mean().item(), rel=1e-5)
    expected = torch.corrcoef(torch.stack([negative, outputs]))[0, 1] ** 2
    assert found["recovered_negative"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_update_path_gives_cosines_and_norms_known_by_hand():
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    path = measures.UpdatePath(model)
    for gradient in ([[1.0, 0.0]], [[1.0, 1.0]], [[-3.0, -3.0]]):
        model[0].weight.grad = torch.tensor(gradient)
        path.follow()
    found = path.summary()
    assert found["smoothness"] == pytest.approx((math.sqrt(0.5) - 1) / 2)
    assert found["first_layer_gradient"] == pytest.approx(math.sqrt(2))


def test_bytes_kept_count_each_storage_once_and_no_parameters():
    task = tasks.load("digits")
    costs = cost.measure(task, [RELU], "relu", depth=2, width=16)
    hidden, outputs = 64 * 16 * 4, 64 * 10 * 4
    # ReLU keeps its output, which is the next layer's input; cross-entropy keeps the
    # log-probabilities and one number.
    assert costs["relu"].bytes_kept == 2 * hidden + outputs + 4
    assert costs["relu"].ratio.center == 1.0


def test_activations_share_split_weights_and_data_order():
    a, b = (
        settings(epochs=1).trial(name, 1e-3, seed=5, measured=False)
        for name in ("relu", "softplus")
    )
    assert a.key != b.key
    task = tasks.load("digits")
    with torch.random.fork_rng():
        weights = []
        for activation in (RELU, SOFTPLUS):
            torch.manual_seed(5)
            weights.append(trials.network(task, activation, 2, 16)[0].weight)
    assert torch.equal(*weights)


def test_a_trial_is_reproducible_and_leaves_the_global_generator_alone():
    trial = settings().trial("softplus", 1e-2, seed=0, measured=True)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = trials.run(trial)
    assert torch.equal(torch.get_rng_state(), before)
    assert trials.run(trial) == first
    assert first == json.loads(json.dumps(first))


def test_a_diverging_trial_keeps_the_best_state_before_it():
    task = tasks.load("diabetes")
    rate = 1e30
    trial = settings(task="diabetes").trial("relu", rate, seed=0, measured=True)
    result = trials.run(trial)
    assert result["diverged_at"] is not None
    assert math.isfinite(result["test"])
    assert result["validation"] <= result["curve"][0][1]
    assert task.name == "diabetes"


def test_the_store_keeps_what_was_written_when_the_process_is_killed(tmp_path):
    path = tmp_path / "study.sqlite"
    child = os.fork()
    if child == 0:
        store = Store(path)
        store.put("a", {"test": 1.0})
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Store(path) as store:
        assert store.get(["a", "b"]) == {"a": {"test": 1.0}}
    with sqlite3.connect(path) as plain:
        assert plain.execute("SELECT count(*) FROM trials").fetchone() == (1,)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "study.sqlite"
    path.write_text("notes of mine, longer than a header, so that it is no empty database\n" * 20)
    with pytest.raises(UsageError, match="not a database"):
        Store(path)
    assert path.read_text().startswith("notes of mine")


def slow_square(x):
    time.sleep(x / 100)
    return x * x


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_engine_returns_every_outcome(jobs):
    assert sorted(engines.run_local(slow_square, [3, 1, 2], jobs)) == [(1, 1), (2, 4), (3, 9)]


def test_leaving_the_engine_early_ends_its_workers_at_once():
    running = engines.run_local(slow_square, [1, 6000, 6000], 2)
    assert next(running) == (1, 1)
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < 20  # the workers would sleep for 60 s


def test_a_dead_worker_is_an_error_not_a_hang():
    with pytest.raises(engines.WorkerDiedError, match="killed, or out of memory"):
        list(engines.run_local(die, [1, 2], 2))


def test_a_study_gives_the_same_results_on_one_process_and_on_two(tmp_path):
    with Store(tmp_path / "one.sqlite") as one, Store(tmp_path / "two.sqlite") as two:
        alone, _ = run(one, jobs=1)
        together, _ = run(two, jobs=2)
    assert [arm["trials"] for arm in alone["arms"]] == [arm["trials"] for arm in together["arms"]]
    assert alone["verdicts"] == together["verdicts"]


def test_the_same_study_again_runs_only_what_is_missing(tmp_path, monkeypatch):
    with Store(tmp_path / "study.sqlite") as store:
        first, counts = run(store)
        assert counts[0] == 0
        assert counts[-1] == settings().trials == 2 * (2 * 3 + 2)

        ran = []
        monkeypatch.setattr(trials, "run", lambda trial: ran.append(trial) or train(trial))
        again, _ = run(store)
        assert ran == []
        assert again["verdicts"] == first["verdicts"]

        more, _ = run(store, seeds=3)
        assert sorted((trial.activation, trial.seed) for trial in ran) == [
            ("relu", 2),
            ("softplus", 2),
        ]
        assert [len(arm["trials"]) for arm in more["arms"]] == [3, 3]


train = trials.run


def test_the_learning_rate_is_chosen_on_seeds_that_the_comparison_never_uses():
    chosen = settings()
    tuning = {trial.seed for trial in chosen.tuning("relu")}
    final = set(range(chosen.seeds))
    assert len(tuning) == 3
    assert not tuning & final
    assert settings(learning_rates=(1e-3,)).tuning("relu") == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"depth": 0}, "--depth"),
        ({"width": -1}, "--width"),
        ({"epochs": 0}, "--epochs"),
        ({"seeds": 0}, "--seeds"),
        ({"learning_rates": ()}, "--lr"),
        ({"learning_rates": (0.0,)}, "--lr"),
        ({"learning_rates": (math.nan,)}, "--lr"),
        ({"margin": 0.0}, "--margin"),
        ({"margin": math.nan}, "--margin"),
    ],
)
def test_settings_that_make_no_sense_name_their_option(change, word):
    with pytest.raises(UsageError, match=word):
        settings(**change)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the results of one small study, for the tests of what is made of them."""
    with Store(tmp_path_factory.mktemp("study") / "study.sqlite") as store:
        return run(store, activations=(RELU, SOFTPLUS, activations.parse("gelu")))[0]


def test_every_row_of_the_table_has_a_cell_for_every_arm(results):
    rows = summary.rows(results)
    assert all(len(row.cells) == 3 and all(row.cells) for row in rows)
    labels = " ".join(f"{row.section} {row.label}" for row in rows).lower()
    for wanted in (
        "definition",
        "shape",
        "x < 0 share",
        "x > 0 mean output",
        "linear probe",
        "f(-2), f(0), f(5)",
        "smallest gradient",
        "subnormal",
        "dead",
        "dormant",
        "sparsity",
        "smoothness",
        "first layer",
        "steps to 90",
        "test accuracy",
        "step time",
        "kept for backward",
    ):
        assert wanted in labels


@pytest.mark.parametrize(
    ("winner", "needed", "words"),
    [
        ("softplus", None, "softplus is better than relu (test accuracy +2 points"),
        ("relu", None, "relu is better than softplus"),
        ("equivalent", None, "softplus and relu are equivalent"),
        ("cannot tell", 31, "about 31 seeds would be needed"),
        ("cannot tell", None, "more data would"),
    ],
)
def test_the_verdict_is_one_sentence(results, winner, needed, words):
    verdict = {
        **results["verdicts"][0],
        "difference": {"center": 2.0, "low": -1.0, "high": 5.0},
        "winner": winner,
        "seeds_needed": needed,
    }
    sentence = summary.sentence({**results, "verdicts": [verdict]})
    assert words in sentence
    assert sentence.startswith("On digits, ")
    assert sentence.count(". ") == 0
    assert sentence.endswith(".")


def test_the_report_is_three_files_and_the_page_needs_nothing_else(results, tmp_path):
    paths = report.write(results, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html",
        "report.md",
        "results.json",
    ]
    page, text, data = (path.read_text() for path in paths)
    assert json.loads(data)["settings"]["activations"] == ["relu", "softplus", "gelu"]
    assert page.count("<svg") == 4
    for outside in ("<script src", "<link", "<img", "url(http", "@import", 'href="http'):
        assert outside not in page
    embedded = page.split('id="results">')[1].split("</script>")[0]
    assert json.loads(embedded.replace("<\\/", "</")) == json.loads(data)
    sentence = summary.sentence(results)
    assert sentence in text
    assert "&lt; 0" in page  # texts are escaped, plots are not
    # Each line of a Markdown table has the same number of cells.
    widths = {
        line.count("|") for line in text.splitlines() if line.startswith("| ") and "p (" not in line
    }
    assert widths >= {5}
