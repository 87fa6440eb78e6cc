"""A small training on the wine data, and what it leaves behind when it is alone."""

from histories import History, composed, trained

from mlpexp.config import Config

WINE = ("data=wine", "model.depth=3", "model.width=8", "training.batch_size=25", "training.epochs=4")
UPDATES = 5  # ⌈106/25⌉ an epoch; the last batch has 6 examples


def wine(*overrides: str) -> Config:
    """A point of twenty updates."""
    return composed(*WINE, *overrides)


def alone(config: Config) -> History:
    """The history of a cohort of one."""
    (history,) = trained([config])
    return history
