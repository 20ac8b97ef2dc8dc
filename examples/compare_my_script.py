r"""Compares ReLU with Softplus in an ordinary training script, without changing the script.

With `--seed` this file is the script: a small convolutional network learns handwritten digits and
its test accuracy is printed. Nothing in that part knows of this package. Without, it runs itself
many times, with its ReLUs as they are and with Softplus in their place, each time with another seed
and at the learning rate that suits each of the two, and says which is better. So does this command,
which writes a report as well:

    softplus compare --seeds 8 --lr 3e-3,1e-2 --metric 'accuracy ([0-9.]+)' -- \
        python examples/compare_my_script.py --seed {seed} --lr {lr}

More in docs/scripts.md.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 -- as most scripts call it
from sklearn.datasets import load_digits
from torch import Tensor, nn

# The training script


class Net(nn.Module):
    """Two convolutions and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.hidden = nn.Linear(32 * 2 * 2, 64)
        self.relu = nn.ReLU()
        self.output = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.output(self.relu(self.hidden(x.flatten(1))))


def train(seed: int, lr: float, epochs: int) -> None:
    """Train, test, and print the accuracy."""
    torch.manual_seed(seed)
    digits = load_digits()
    order = torch.randperm(len(digits.images))
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)[order]
    labels = torch.tensor(digits.target)[order]
    x, y = images[360:], labels[360:]
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}, loss {loss.item():.4f}")
    with torch.no_grad():
        right = model(images[:360]).argmax(dim=1) == labels[:360]
    print(f"test accuracy {100 * right.double().mean().item():.2f}")


# The comparison


def compare(picture: Path, out: Path | None, *, quick: bool) -> None:
    """Run this file with each activation and seed; print and draw the verdict."""
    from softplus import lab  # noqa: PLC0415 -- the training script is to know nothing of it

    command = ["python", __file__, "--seed", "{seed}", "--lr", "{lr}", *["--quick"] * quick]
    script = lab.script(command, metric="accuracy ([0-9.]+)", test_ratio=360 / 1437, threads=1)
    study = lab.compare(
        script,
        "relu,softplus",
        seeds=2 if quick else 8,
        learning_rates=[3e-3] if quick else [3e-3, 1e-2],
        margin=0.5,  # points of accuracy: a smaller difference does not matter
        jobs=2,
        out=out,
    )
    for arm in study.results.arms:
        scores = ", ".join(f"{outcome.test:.1f}" for outcome in arm.outcomes)
        print(f"{arm.name:10} at learning rate {arm.learning_rate:g}: {scores}")
    print(f"\n{study}")
    study.plot().savefig(picture, dpi=150)
    print(f"Picture: {picture}")


def main() -> None:
    """Train once where a seed is given; otherwise compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="train once, with this seed")
    parser.add_argument("--lr", type=float, default=3e-3, help="the learning rate to train with")
    parser.add_argument("--quick", action="store_true", help="a smoke test, too short to conclude")
    parser.add_argument("--picture", type=Path, default=Path("compare_my_script.png"))
    parser.add_argument("--out", type=Path, help="keep trainings and report here, to go on from")
    arguments = parser.parse_args()
    if arguments.seed is None:
        compare(arguments.picture, arguments.out, quick=arguments.quick)
    else:
        train(arguments.seed, arguments.lr, epochs=1 if arguments.quick else 10)


if __name__ == "__main__":
    main()
