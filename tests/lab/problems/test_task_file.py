"""Task files, `softplus.lab.problems.task_file`: what they may say, and how they are refused."""

import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from softplus import Softplus
from softplus.lab import activations, problems
from softplus.lab.errors import TheirError, UsageError
from softplus.lab.problems import task_file
from softplus.lab.problems.rehearsal import rehearse
from softplus.lab.trials import Trial

RELU, SOFTPLUS = activations.parse_list("relu,softplus")
PLAIN = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        return self.last(F.relu(self.drop(self.act(self.conv(x)).flatten(1))))


def model():
    return Net()


def data():
    x = torch.randn(150, 1, 4, 4)
    return x, x.flatten(1)[:, :3].argmax(dim=1)


epochs = 2
"""
NUMBERS = """
import torch
from torch import nn


def model():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))


def data():
    x = torch.randn(100, 2)
    return x, x.prod(dim=1)


epochs = 2
"""


@pytest.fixture
def task(tmp_path):
    """Return a function that writes a task file and returns its problem."""

    def load(source, more="", **changes):
        path = tmp_path / f"task_{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source + textwrap.dedent(more))
        return problems.load(path, **changes)

    return load


def test_a_model_and_data_are_enough(task):
    problem = task(PLAIN)
    assert problem.title == "Net on 150 examples"
    assert (problem.metric.name, problem.metric.unit) == ("accuracy", "%")
    assert problem.parts == {"train": 90, "validation": 30, "test": 30}
    assert problem.test_ratio == pytest.approx(1 / 3)
    assert any("2 ReLUs are the arm's: act, relu" in note for note in problem.notes)


def test_the_arms_differ_in_their_activation_alone(task):
    problem = task(PLAIN)
    models = {}
    for arm in (RELU, SOFTPLUS):
        torch.manual_seed(3)
        models[arm.name] = problem.model(arm)
    assert len(activations.sites(models["softplus"])) == 2
    states = [model.state_dict() for model in models.values()]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    x = torch.randn(5, 1, 4, 4)
    outputs = {name: model.eval()(x) for name, model in models.items()}
    assert not torch.allclose(outputs["relu"], outputs["softplus"])
    namespace = {}
    exec(compile(PLAIN, "plain", "exec"), namespace)  # noqa: S102  # the file's own code
    own = namespace["model"]().eval()
    own.load_state_dict(states[0])
    assert torch.equal(outputs["relu"], own(x))


@pytest.mark.parametrize("arm", ["relu", "softplus:beta=5:init=he", "annealed_softplus"])
def test_a_trial_repeats_with_dropout_too(arm, task):
    problem, trial = task(PLAIN), Trial(arm, 1e-3, 1, measured=True)
    (first,), (second,) = problem.run([trial]), problem.run([trial])
    assert first.failure is None
    assert first == second
    assert len(first.measures.layers) == 2


def test_data_drawn_at_random_are_the_same_in_every_process(task):
    problem = task(PLAIN)
    rows = torch.arange(9)
    inputs, _ = problem.examples(rows).batch(rows)
    task_file._collection.cache_clear()
    torch.manual_seed(99)
    again = problems.load(problem.path)
    assert torch.equal(again.examples(rows).batch(rows)[0], inputs)
    assert again.identity == problem.identity
    assert task(PLAIN + "\n# another comment\n").identity != problem.identity


def test_numbers_are_fitted_by_least_squares_whatever_the_last_dimension(task):
    problem = task(NUMBERS)
    assert problem.metric.name == "root mean square error"
    assert problem.metric.margin is None
    x, y = torch.randn(7, 2), torch.randn(7)
    model = problem.model(RELU)
    expected = nn.functional.mse_loss(model(x).squeeze(1), y)
    assert torch.equal(problem.loss(model, x, y), expected)
    (outcome,) = problem.run([Trial("softplus", 1e-3, 0, measured=False)])
    assert outcome.test == outcome.test > 0


def test_what_the_file_says_counts(task):
    problem = task(
        NUMBERS,
        """
        epochs = 4
        batch_size = 10
        learning_rates = [1e-2]
        margin = 0.5
        goal = 3.0
        loss = nn.L1Loss()

        def metric(outputs, targets):
            return (outputs.squeeze(1) - targets).abs().max()

        higher_is_better = False

        def optimizer(parameters, lr):
            return torch.optim.SGD(parameters, lr, momentum=0.5)
        """,
    )
    assert (problem.epochs, problem.batch_size, problem.learning_rates) == (4, 10, (1e-2,))
    metric = problem.metric
    assert (metric.name, metric.margin, metric.goal) == ("metric", 0.5, 3.0)
    assert not metric.higher_is_better
    model, x = problem.model(RELU), torch.randn(3, 2)
    assert problem.loss(model, x, model(x) + 2).item() == pytest.approx(2)
    made = problem.optimizer(model.parameters(), 0.25)
    assert isinstance(made, torch.optim.SGD)
    assert made.defaults["lr"] == 0.25


@pytest.mark.parametrize(
    ("code", "rates"),
    [
        ("", (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
        ("optimizer = torch.optim.SGD", (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
        ("def optimizer(parameters): return torch.optim.SGD(parameters, lr=0.7)", ()),
    ],
)
def test_the_rates_fit_the_optimizer(code, rates, task):
    problem = task(NUMBERS, code)
    assert problem.learning_rates == rates
    if not rates:
        parameters = problem.model(RELU).parameters()
        assert problem.optimizer(parameters, None).defaults["lr"] == 0.7


@pytest.mark.parametrize(
    ("name", "higher"),
    [("accuracy", True), ("mean_error", False), ("F1Score", True), ("rmse", False)],
)
def test_the_better_way_is_read_off_the_metrics_name(name, higher, task):
    function = f"def {name}(outputs, targets): return 1.0\nmetric = {name}"
    assert task(NUMBERS, function).metric.higher_is_better == higher


def test_a_loss_with_a_default_of_its_own_takes_outputs_and_targets(task):
    problem = task(NUMBERS, "def loss(outputs, targets, weight=2.0): return weight * outputs.sum()")
    model, x = problem.model(RELU), torch.randn(3, 2)
    assert torch.equal(problem.loss(model, x, x[:, 0]), 2 * model(x).sum())


def test_a_loss_and_a_metric_may_take_the_model(task):
    problem = task(
        NUMBERS,
        """
        def loss(model, inputs, targets):
            inputs = inputs.clone().requires_grad_()
            outputs = model(inputs).squeeze(1)
            (slopes,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
            return ((outputs - targets) ** 2 + slopes.norm(dim=1)).mean()
        """,
    )
    assert problem.metric.name == "loss"
    (outcome,) = problem.run([Trial("softplus", 1e-3, 0, measured=False)])
    assert outcome.failure is None
    assert outcome.test > 0


COUNTS = NUMBERS.replace("x.prod(dim=1)", "(x * 9).abs().sum(dim=1).long()")


def test_whole_numbers_are_classes_only_where_the_model_has_an_output_for_each(task):
    with pytest.raises(UsageError, match="the model has one output: return fractions"):
        task(COUNTS)
    poisson = "def loss(outputs, targets): return nn.PoissonNLLLoss()(outputs[:, 0], targets)"
    problem = task(COUNTS, poisson)
    assert problem.metric.name == "loss"
    assert problem.run([Trial("relu", 1e-3, 0, measured=False)])[0].failure is None
    assert task(PLAIN, "def loss(outputs, targets): return outputs.sum()").metric.name == "accuracy"


FORMS = {
    "arrays": "x.numpy(), y.numpy()",
    "dataset": "torch.utils.data.TensorDataset(x, y)",
    "own dataset": "Rows(list(zip(x, y)))",
    "loader": "torch.utils.data.DataLoader(Rows(list(zip(x, y))), batch_size=7)",
    "train and test": "(x[:60], y[:60]), (x[60:], y[60:])",
    "datasets": "Rows(list(zip(x[:60], y[:60]))), Rows(list(zip(x[60:], y[60:])))",
    "three parts": "(x[:60], y[:60]), (x[60:80], y[60:80]), (x[80:], y[80:])",
}


@pytest.mark.parametrize("form", FORMS)
def test_data_may_come_in_many_forms(form, task):
    problem = task(
        NUMBERS,
        f"""
        class Rows(torch.utils.data.Dataset):
            def __init__(self, rows): self.rows = rows
            def __len__(self): return len(self.rows)
            def __getitem__(self, index): return self.rows[index]

        def data():
            x = torch.randn(100, 2)
            y = x.prod(dim=1)
            return {FORMS[form]}
        """,
    )
    assert problem.rows == 100
    parts = problem.split(1)
    assert sorted(torch.cat(parts).tolist()) == list(range(100))
    inputs, targets = problem.examples(parts.train).batch(torch.tensor([0, 99]))
    assert torch.allclose(inputs.prod(dim=1), targets)
    given = {"train and test", "datasets", "three parts"}
    if form in given:
        assert problem.test_ratio is None
        assert torch.equal(parts.test, problem.split(2).test)
    else:
        assert problem.test_ratio == pytest.approx(1 / 3)
    assert problem.run([Trial("relu", 1e-3, 0, measured=False)])[0].failure is None


def test_mappings_with_labels_become_keyword_arguments(task):
    problem = task(
        """
        import torch
        from types import SimpleNamespace
        from torch import nn

        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second = nn.Linear(2, 6), nn.Linear(6, 3)

            def forward(self, values, mask):
                hidden = nn.functional.relu(self.first(values)) * mask
                return SimpleNamespace(logits=self.second(hidden))

        def model(): return Tagger()

        def data():
            return Rows([
                {"values": torch.randn(2), "mask": torch.ones(6), "labels": n % 3}
                for n in range(60)
            ])

        class Rows(torch.utils.data.Dataset):
            def __init__(self, rows): self.rows = rows
            def __len__(self): return len(self.rows)
            def __getitem__(self, index): return self.rows[index]

        epochs = 1
        """.replace("\n        ", "\n")
    )
    (outcome,) = problem.run([Trial("softplus", 1e-3, 0, measured=True)])
    assert outcome.failure is None
    assert len(outcome.measures.layers) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", ["does not define model()"]),
        ("def model(): pass", ["does not define data()"]),
        (NUMBERS + "def model(): return 3", ["model()", "torch.nn.Module", "int"]),
        (NUMBERS + "def data(): return 3", ["data() must return", "got int"]),
        (NUMBERS + "def data(): return torch.zeros(3), 4", ["got tuple of Tensor, int"]),
        (NUMBERS + "def data(): return torch.zeros(30), torch.zeros(29)", ["30 inputs", "29"]),
        (NUMBERS + "def data(): return torch.zeros(3, 2), torch.zeros(3)", ["too few", "3"]),
        (NUMBERS + "def model(): return nn.Linear(2, 1)", ["no relu", "Linear"]),
        (NUMBERS + "epochs = 0", ["epochs", "whole number", "0"]),
        (NUMBERS + "def metric(outputs, targets): return 0", ["higher_is_better = True or False"]),
        (NUMBERS + "learning_rates = 3", ["learning_rates", "3"]),
        (
            NUMBERS + "class Endless(torch.utils.data.IterableDataset):\n"
            "    def __iter__(self): return iter([])\n"
            "def data(): return Endless()",
            ["Endless", "__getitem__"],
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(source, words, task):
    with pytest.raises(UsageError) as error:
        task(source)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("1 / 0", "task_0.py raised ZeroDivisionError"),
        ("def model(): return nn.Linear('a', 1)", "model\\(\\) of task_0.py raised TypeError"),
        ("def data(): raise KeyError('x')", "data\\(\\) of task_0.py raised KeyError: 'x'"),
        (
            """
            class Rows(torch.utils.data.Dataset):
                def __len__(self): return 90
                def __getitem__(self, index): raise OSError('no image')
            def data(): return Rows()
            """,
            "data\\(\\) of task_0.py, asked for two examples, raised OSError: no image",
        ),
    ],
)
def test_what_the_file_raises_comes_with_its_own_traceback(more, what, task):
    with pytest.raises(TheirError, match=what) as error:
        task(NUMBERS, more)
    first = error.value.traceback.splitlines()[1]
    assert "task_0.py" in first  # none of the lab's own frames before it


def test_what_training_raises_is_found_by_a_rehearsal(task):
    problem = task(NUMBERS, "def loss(outputs, targets): return outputs @ targets")
    with pytest.raises(TheirError, match=r"training task_0.py raised RuntimeError") as error:
        rehearse(problem, [RELU])
    assert "outputs @ targets" in error.value.traceback
    (outcome,) = problem.run([Trial("relu", 1e-3, 0, measured=False)])
    assert "outputs @ targets" in outcome.failure


def test_a_rehearsal_returns_a_time_and_refuses_a_loss_that_is_never_finite(task):
    assert rehearse(task(NUMBERS), [RELU, SOFTPLUS]) > 0
    bad = task(NUMBERS, "def loss(outputs, targets): return (outputs * float('nan')).sum()")
    with pytest.raises(UsageError, match="not a finite number at the first step"):
        rehearse(bad, [RELU])
    constant = task(NUMBERS, "def loss(outputs, targets): return targets.sum()")
    with pytest.raises(UsageError, match="does not depend on the model's parameters"):
        rehearse(constant, [RELU])
    unfit = activations.parse("softplus:init=looks_linear")
    with pytest.raises(UsageError, match="init=looks_linear of softplus"):
        rehearse(task(PLAIN.replace("self.conv(x)", "self.conv(x) + x[..., :2, :2]")), [unfit])


def test_a_name_that_was_probably_meant_for_an_option_is_mentioned(task):
    assert "epoch is not read: did you mean epochs?" in task(PLAIN.replace("epochs", "epoch")).notes


def test_a_relu_that_cannot_be_replaced_is_mentioned(task):
    problem = task(
        NUMBERS,
        """
        def stray(x): return torch.relu(x)

        class Both(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
            def forward(self, x): return stray(self.net(x))

        def model(): return Both()
        """,
    )
    assert any("1 ReLUs are the arm's: net.1" in note for note in problem.notes)
    assert any("ReLUs that stay in every arm" in note for note in problem.notes)


def test_the_files_neighbours_can_be_imported(task, tmp_path):
    (tmp_path / "beside_the_task.py").write_text("WIDTH = 8\n")
    assert task(NUMBERS, "from beside_the_task import WIDTH").rows == 100


def test_width_is_not_for_a_model_of_ones_own(task):
    with pytest.raises(UsageError, match="--width is for networks of the lab's own"):
        task(NUMBERS, width=3)
    assert task(NUMBERS, epochs=7).epochs == 7


def test_the_arm_relu_is_marked_and_softplus_in_the_model_is_not(task):
    own = NUMBERS.replace("nn.Linear(8, 1))", "nn.Linear(8, 1), nn.Softplus())")
    model = task(own).model(SOFTPLUS)
    assert list(activations.sites(model)) == ["1"]
    assert isinstance(model[1], Softplus)


def test_the_file_on_the_page_works(task):
    page = Path(__file__).parents[3] / "docs" / "task-file.md"
    source = page.read_text().split("```python\n")[1].split("```")[0]
    problem = task(source, epochs=1)
    assert problem.title == "Sequential on 1,797 examples"
    (outcome,) = problem.run([Trial("softplus:beta=5", 1e-2, 0, measured=False)])
    assert outcome.test > 50
