"""The peer of a sweep: one run as a user of Hydra, Lightning and its MLflow logger would write it.

Called once for each run by Hydra's basic launcher (`python lightning_run.py -m depth=1,2 …`), in one process. Per epoch
it logs loss and accuracy on training and validation part, every `log_every` steps the batch's loss and each layer's
gradient norm: 1 is what mlpexp records, 10 what many users settle for.
"""

import logging
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import hydra
import lightning as L
import torch
from hydra.core.config_store import ConfigStore
from lightning.pytorch.loggers import MLFlowLogger
from omegaconf import OmegaConf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

ACTIVATIONS = {
    "identity": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU,
}  # fmt: skip


@dataclass
class Run:
    """One point and seed of the grid."""

    depth: int = 4
    width: int = 32
    activation: str = "relu"
    learning_rate: float = 1e-3
    seed: int = 0
    epochs: int = 20
    log_every: int = 1
    store: str = "mlflow.db"


ConfigStore.instance().store(name="run", node=Run)


class Classifier(L.LightningModule):
    """An MLP that logs what mlpexp's presets log, as far as Lightning's logger can."""

    def __init__(self, config: Run) -> None:
        super().__init__()
        widths = [64, *[config.width] * (config.depth - 1), 10]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[config.activation]()]
        self.network = nn.Sequential(*layers[:-1])
        self.learning_rate, self.log_every = config.learning_rate, config.log_every

    def _step(self, batch: tuple[Tensor, Tensor], part: str) -> Tensor:
        z = self.network(batch[0])
        loss = nn.functional.cross_entropy(z, batch[1])
        self.log(f"loss/{part}", loss, on_step=False, on_epoch=True)
        self.log(f"accuracy/{part}", (z.argmax(1) == batch[1]).float().mean(), on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch."""
        loss = self._step(batch, "train")
        self.log("loss/batch", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Loss and accuracy of a batch."""
        self._step(batch, "validation")

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Each layer's gradient norm, every so many steps."""
        if self.global_step % self.log_every == 0:
            layers = [module for module in self.network if isinstance(module, nn.Linear)]
            gradients = [layer.weight.grad for layer in layers]
            norms = {f"gradient_norm/layer_{i:02d}": g.norm() for i, g in enumerate(gradients, 1) if g is not None}
            self.log_dict(norms)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


@hydra.main(version_base="1.3", config_path=None, config_name="run")
def main(config: Run) -> None:
    """Train one run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # of the peer, about how it is used here: no matter of a rate
    torch.set_num_threads(1)
    L.seed_everything(config.seed, verbose=False)
    x, y = load_digits(return_X_y=True)
    x, _, y, _ = train_test_split(x / 16, y, test_size=0.2, random_state=0, stratify=y)
    x, xv, y, yv = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    parts = [TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b)) for a, b in ((x, y), (xv, yv))]
    store = f"sqlite:///{Path(config.store).absolute()}"
    trainer = L.Trainer(
        max_epochs=config.epochs,
        accelerator="cpu",
        logger=MLFlowLogger("grid", tracking_uri=store, artifact_location=str(Path(config.store).absolute().parent)),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=config.log_every,
    )
    trainer.fit(Classifier(config), DataLoader(parts[0], 64, shuffle=True), DataLoader(parts[1], 256))
    assert trainer.logger is not None
    trainer.logger.log_hyperparams(OmegaConf.to_container(OmegaConf.structured(config)))


if __name__ == "__main__":
    main()
