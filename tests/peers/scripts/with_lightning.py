"""A training script with Lightning's Trainer, as people write it."""

import pytorch_lightning as pl
import torch
from torch.nn import functional as F  # noqa: N812 -- the spelling that scripts use
from torch.utils.data import DataLoader, TensorDataset


class Regression(pl.LightningModule):
    """A network of one hidden layer."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)
        )

    def training_step(self, batch):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch):
        x, y = batch
        self.log("val_loss", F.mse_loss(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


inputs = torch.randn(512, 4)
data = TensorDataset(inputs, inputs[:, :1].relu())
train, validation = torch.utils.data.random_split(data, [384, 128])
trainer = pl.Trainer(
    max_epochs=2,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
model = Regression()
trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True), DataLoader(validation, 128))
print(f"val_loss={float(trainer.callback_metrics['val_loss']):.6f}")
