"""The main job on real pictures; needs Debian's package dataset-fashion-mnist."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import mlpexp
from mlpexp.data import load, prepare
from mlpexp.data.catalogue import default_config
from mlpexp.data.idx import FASHION_FOLDERS

pytestmark = pytest.mark.skipif(
    not any(os.path.isdir(folder) for folder in FASHION_FOLDERS),
    reason="Fashion-MNIST is not installed: apt-get install dataset-fashion-mnist",
)


def test_the_small_set_is_every_class_of_the_whole_one_at_a_quarter_of_its_pixels() -> None:
    parts, whole = prepare(default_config("fashion_small")), load(default_config("fashion_mnist"))
    assert (len(parts.training), len(parts.validation), len(parts.test)) == (2000, 1000, 10000)
    assert np.bincount(parts.training.targets).tolist() == [200] * 10
    twin = torch.nn.functional.avg_pool2d(torch.tensor(whole.features[60000:].reshape(-1, 1, 28, 28)).double(), 2)
    assert np.allclose(parts.test.features * parts.scale + parts.centre, twin.reshape(10000, 196).numpy())
    assert np.array_equal(parts.test.targets, whole.targets[60000:])


def test_four_layers_of_128_units_reach_87_percent(tmp_path: Path) -> None:
    overrides = ["data=fashion_mnist", "model.depth=4", "model.width=128", "tracking=none", f"outputs={tmp_path}"]
    config = mlpexp.compose([*overrides, "training.epochs=5", "training.batch_size=128"])
    (result,) = mlpexp.run(config, quiet=True)
    assert result.scores["accuracy/test"] >= 0.87
    assert result.facts["data"]["examples"] == {"train": 54000, "validation": 6000, "test": 10000}
