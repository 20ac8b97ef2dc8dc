"""A training script in plain PyTorch, as people write it: it knows nothing of Softplus."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F  # noqa: N812 -- the spelling that scripts use
from torch.utils.data import DataLoader, TensorDataset, random_split

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--lr", type=float, default=1e-2)
options = parser.parse_args()


class Net(torch.nn.Module):
    """Two hidden layers, one activation a module and one a function."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(inplace=True))
        self.second = torch.nn.Linear(32, 32)
        self.last = torch.nn.Linear(32, 10)

    def forward(self, x):
        return self.last(F.relu(self.second(self.first(x))))


data = load_digits()
pixels = torch.tensor(data.data / 16, dtype=torch.float32)
train, test = random_split(TensorDataset(pixels, torch.tensor(data.target)), [1497, 300])
loader = DataLoader(train, batch_size=64, shuffle=True, num_workers=1)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=options.lr)
for epoch in range(options.epochs):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        x, y = test[:]
        accuracy = (net(x).argmax(dim=1) == y).float().mean().item()
    print(f"epoch {epoch}: val_acc={accuracy:.4f}")
