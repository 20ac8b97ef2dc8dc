"""The callbacks in their trainers, the names in their tables, where the libraries are installed."""

import importlib
import json
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from softplus import Softplus, harden
from softplus.integrations import AnnealingByCount

# The trainers warn of their own affairs: CPUs, workers, deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("module", "absent", "advice"),
    [
        ("lightning", ["lightning", "pytorch_lightning"], "pip install lightning"),
        ("transformers", ["transformers"], "pip install transformers accelerate"),
        ("timm", ["timm"], "pip install timm"),
    ],
)
def test_a_missing_library_is_named(module, absent, advice):
    source = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        "import softplus.integrations\n"
        f"import softplus.integrations.{module}\n"
    )
    command = [sys.executable, "-c", source]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: softplus.integrations.{module} is for ")
    assert last.endswith(advice)


def test_the_count_leads_and_beta_stays_at_its_end():
    model = nn.Sequential(Softplus(9))
    counted = AnnealingByCount(1, 16, steps=4)
    counted.follow(2)  # before the training there is nothing to follow
    assert model[0].beta == 9
    counted.begin(model, total=100)
    seen = []
    for taken in (0, 1, 1, 3, 2, 4, 50):
        counted.follow(taken)
        seen.append(model[0].beta)
    assert seen == [1, 2, 2, 8, 8, 16, 16]


@pytest.mark.parametrize("total", [float("inf"), -1])
def test_a_training_without_end_needs_steps(total):
    model = nn.Sequential(Softplus(9))
    with pytest.raises(ValueError, match=r"^steps=None takes all steps of the training, and"):
        AnnealingByCount(1, 16).begin(model, total)
    assert model[0].beta == 9
    AnnealingByCount(1, 16, steps=4).begin(model, total)
    assert model[0].beta == 1


def network() -> nn.Sequential:
    """Return a network of one hidden layer."""
    return nn.Sequential(nn.Linear(3, 5), Softplus(), nn.Linear(5, 1))


def data() -> Tensor:
    """Return sixteen examples."""
    return torch.randn(16, 3, generator=torch.Generator().manual_seed(0))


# Lightning


@pytest.fixture(params=["lightning", "pytorch_lightning"])
def lightning(request):
    """Return either of the names under which Lightning is published."""
    return pytest.importorskip(request.param, reason="needs Lightning")


def lightning_trainer(lightning, folder, callback, **settings):
    """Return a trainer with a callback, which keeps to its folder and says nothing."""
    return lightning.Trainer(
        accelerator="cpu",
        callbacks=[callback],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def loader() -> torch.utils.data.DataLoader:
    """Return the examples in batches of four."""
    return torch.utils.data.DataLoader(data(), batch_size=4)


@pytest.fixture
def lightning_fit(lightning, tmp_path):
    callbacks = importlib.import_module("softplus.integrations.lightning")

    class Regression(lightning.LightningModule):
        """Notes the beta with which each batch is seen."""

        def __init__(self):
            super().__init__()
            self.network = network()
            self.seen = []

        def training_step(self, batch, _):
            self.seen.append(self.network[1].beta)
            return self.network(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def fit(checkpoint=None, epochs=2, accumulate=1, **arguments):
        model = Regression()
        annealing = callbacks.BetaAnnealingCallback(1, 256, **arguments)
        trainer = lightning_trainer(
            lightning, tmp_path, annealing, max_epochs=epochs, accumulate_grad_batches=accumulate
        )
        trainer.fit(model, loader(), ckpt_path=checkpoint)
        return model, trainer

    return fit


def test_lightning_anneals_over_the_whole_training(lightning_fit):
    model, trainer = lightning_fit()
    assert trainer.global_step == 8
    assert model.seen == [2.0**k for k in range(8)]
    assert model.network[1].beta == 256
    assert type(harden(model.network)[1]) is nn.ReLU


def test_lightning_counts_optimizer_steps(lightning_fit):
    model, _ = lightning_fit(accumulate=2)
    assert model.seen == [1, 1, 4, 4, 16, 16, 64, 64]
    assert model.network[1].beta == 256


def test_lightning_stays_at_the_end(lightning_fit):
    model, _ = lightning_fit(steps=4, schedule="linear")
    assert model.seen == [1, 64.75, 128.5, 192.25, 256, 256, 256, 256]


def test_lightning_resumes(lightning_fit, tmp_path):
    _, trainer = lightning_fit(epochs=1, steps=8)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    model, _ = lightning_fit(tmp_path / "half.ckpt", epochs=2, steps=8)
    assert model.seen == [16, 32, 64, 128]
    assert model.network[1].beta == 256


def dying() -> nn.Sequential:
    """Return a network of whose ten units three are dead, in training too."""
    model = nn.Sequential(nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 1))
    with torch.no_grad():
        model[0].bias[:3] = -100.0
        model[0].bias[3:] = 10.0
    return model


def test_lightning_logs_dead_units(lightning, tmp_path):
    callbacks = importlib.import_module("softplus.integrations.lightning")

    class Regression(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = dying()

        def training_step(self, batch, _):
            return self.network(batch).square().mean()

        def validation_step(self, batch, _):
            self.network(batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-6)

    model, callback = Regression(), callbacks.DeadUnitsCallback()
    trainer = lightning_trainer(lightning, tmp_path, callback, max_epochs=2)
    trainer.fit(model, loader(), loader())
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["units/dead"] == pytest.approx(0.3)
    assert logged["units/always_on"] == pytest.approx(0.7)
    assert callback._watch is None


# Hugging Face


@pytest.fixture
def transformers():
    found = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    return found


def hugging_face_trainer(transformers, folder, model, callback, **settings):
    """Return a Trainer with a callback, which keeps to its folder and says nothing."""
    rows = [{"x": row, "labels": 0.0} for row in data()]
    return transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder), report_to=[], use_cpu=True, disable_tqdm=True, **settings
        ),
        train_dataset=rows,
        eval_dataset=rows,
        callbacks=[callback],
    )


@pytest.fixture
def trainer_fit(transformers, tmp_path):
    callbacks = importlib.import_module("softplus.integrations.transformers")

    class Regression(nn.Module):
        """Notes the beta with which each batch is seen."""

        def __init__(self):
            super().__init__()
            self.network = network()
            self.seen = []

        def forward(self, x, labels=None):  # noqa: ARG002  # the Trainer passes labels
            self.seen.append(self.network[1].beta)
            return {"loss": self.network(x).square().mean()}

    def fit(checkpoint=None, epochs=2, accumulate=1, **arguments):
        model = Regression()
        trainer = hugging_face_trainer(
            transformers,
            tmp_path,
            model,
            callbacks.BetaAnnealingCallback(1, 256, **arguments),
            num_train_epochs=epochs,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=accumulate,
            save_strategy="epoch",
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        return model, trainer

    return fit


def test_the_trainer_anneals_over_the_whole_training(trainer_fit):
    model, trainer = trainer_fit()
    assert trainer.state.global_step == 8
    assert model.seen == [2.0**k for k in range(8)]
    assert model.network[1].beta == 256
    assert type(harden(model.network)[1]) is nn.ReLU


def test_the_trainer_counts_optimizer_steps(trainer_fit):
    model, _ = trainer_fit(accumulate=2)
    assert model.seen == [1, 1, 4, 4, 16, 16, 64, 64]
    assert model.network[1].beta == 256


def test_the_trainer_stays_at_the_end(trainer_fit):
    model, _ = trainer_fit(steps=4, schedule="linear")
    assert model.seen == [1, 64.75, 128.5, 192.25, 256, 256, 256, 256]


def test_the_trainer_resumes(trainer_fit, tmp_path):
    trainer_fit(epochs=1, steps=8)
    checkpoint = tmp_path / "checkpoint-4"
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 4
    model, _ = trainer_fit(str(checkpoint), epochs=2, steps=8)
    assert model.seen == [16, 32, 64, 128]
    assert model.network[1].beta == 256


def test_the_trainer_logs_dead_units(transformers, tmp_path):
    callbacks = importlib.import_module("softplus.integrations.transformers")

    class Regression(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = dying()

        def forward(self, x, labels=None):  # noqa: ARG002  # the Trainer passes labels
            return {"loss": self.network(x).square().mean()}

    trainer = hugging_face_trainer(
        transformers,
        tmp_path,
        Regression(),
        callbacks.DeadUnitsCallback(),
        num_train_epochs=2,
        learning_rate=1e-6,
        eval_strategy="epoch",
        save_strategy="no",
    )
    trainer.train()
    logged = [each for each in trainer.state.log_history if "eval_units_dead" in each]
    assert len(logged) == 2
    assert logged[-1]["eval_units_dead"] == pytest.approx(0.3)
    assert trainer.evaluate()["eval_units_always_on"] == pytest.approx(0.7)
