"""The main job on real pictures; needs Debian's package dataset-fashion-mnist."""

import os
from pathlib import Path

import pytest

import mlpexp
from mlpexp.data.idx import FASHION_FOLDERS

pytestmark = pytest.mark.skipif(
    not any(os.path.isdir(folder) for folder in FASHION_FOLDERS),
    reason="Fashion-MNIST is not installed: apt-get install dataset-fashion-mnist",
)


def test_four_layers_of_128_units_reach_87_percent(tmp_path: Path) -> None:
    overrides = ["data=fashion_mnist", "model.depth=4", "model.width=128", "tracking=none", f"outputs={tmp_path}"]
    config = mlpexp.compose([*overrides, "training.epochs=5", "training.batch_size=128"])
    (result,) = mlpexp.run(config, quiet=True)
    assert result.scores["accuracy/test"] >= 0.87
    assert result.facts["data"]["examples"] == {"train": 54000, "validation": 6000, "test": 10000}
