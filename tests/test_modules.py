"""A trained run as an ordinary torch module: it predicts from raw inputs what the run was scored with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs_fixtures import composed, trained
from torch import nn

from mlpexp.data import prepare
from mlpexp.results import Result
from mlpexp.runner import run


def raw(result: Result, part: str = "test") -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs as the source has them, before normalisation, and targets."""
    parts = prepare(result.config.data)
    chosen = getattr(parts, part)
    return torch.from_numpy(chosen.features * parts.scale + parts.centre), torch.from_numpy(chosen.targets)


def accuracy(result: Result, which: str | None = None) -> float:
    inputs, labels = raw(result)
    outputs = result.network(which)(inputs)
    predicted = outputs.argmax(dim=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0.5).long()
    return float((predicted == labels).double().mean())


POINTS = (
    (),
    ("model.activation=sigmoid", "data.normalisation=minmax"),
    ("model.activation=tanh", "training.dtype=float64"),
    ("model.activation=leaky_relu", "initialisation=glorot"),
    ("model.activation=leaky_relu", "model.negative_slope=0.3", "data.normalisation=none"),
    ("model.activation=identity", "model.depth=3"),
    ("model.bias=false",),
    ("model.depth=1",),
    ("model.output=sigmoid", "training.loss=mse"),
    ("model.output=relu", "training.loss=huber"),
    ("data=breast_cancer",),
    ("model.dropout=0.5", "data.label_noise=0.2"),
    ("model.batch_norm=after",),
    ("model.batch_norm=before", "model.batch_norm_affine=false", "model.depth=3"),
    ("model.skip=true", "model.batch_norm=after", "model.depth=4", "model.activation=[tanh,relu,gelu]"),
    ("model.depth=3", "model.width=[16,4]"),
)


@pytest.mark.parametrize("overrides", POINTS, ids=" ".join)
def test_raw_inputs_give_the_recorded_test_accuracy(overrides: tuple[str, ...]) -> None:
    for restore in ("best", "final"):
        (result,) = trained(
            *overrides,
            "optimizer=momentum",
            "optimizer.learning_rate=0.02",
            "training.epochs=3",
            f"training.restore={restore}",
        )
        assert accuracy(result) == result.scores["accuracy/test"]
        assert accuracy(result, restore) == result.scores["accuracy/test"]


def test_best_and_final_weights_differ_where_training_went_on_too_long() -> None:
    results = [
        trained("optimizer=momentum", "optimizer.learning_rate=1", "training.epochs=3", f"training.restore={restore}")[
            0
        ]
        for restore in ("best", "final")
    ]
    best, final = (accuracy(results[0], which) for which in ("best", "final"))
    assert best != final
    assert (best, final) == tuple(result.scores["accuracy/test"] for result in results)


def test_a_regression_predicts_values_on_the_scale_of_its_targets() -> None:
    (result,) = trained("data=diabetes", "optimizer.learning_rate=0.1", "training.epochs=3")
    inputs, targets = raw(result)
    loss = nn.functional.mse_loss(result.network()(inputs).double(), targets.reshape(-1, 1).double())
    assert float(loss.detach()) == pytest.approx(result.scores["loss/test"], rel=1e-5)


def test_logits_and_outputs_belong_together_and_nothing_is_dropped_out() -> None:
    (result,) = trained("model.dropout=0.5")
    network = result.network()
    inputs, _ = raw(result)
    assert torch.equal(network(inputs), torch.softmax(network.logits(inputs), dim=-1))
    assert torch.equal(network(inputs), network(inputs))
    assert not network.training


def test_it_is_an_ordinary_module_with_linear_layers() -> None:
    (result,) = trained("model.depth=3")
    network = result.network()
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(8, 64), (8, 8), (10, 8)]
    network(raw(result)[0].float()).sum().backward()
    assert all(layer.weight.grad is not None for layer in linear)


def test_without_a_validation_part_the_best_weights_are_the_final_ones() -> None:
    (result,) = trained("data.split.validation=0", "training.restore=final")
    inputs, _ = raw(result)
    assert torch.equal(result.network("best")(inputs), result.network("final")(inputs))
    assert accuracy(result, "best") == result.scores["accuracy/test"]


def test_missing_values_are_imputed_as_in_training(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(80, 2))
    rows = [f"{'' if i % 9 == 0 else a},{b},{'yn'[int(a > b)]}" for i, (a, b) in enumerate(x)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,kind", *rows]) + "\n")
    overrides = ["data=table", f"data.path={tmp_path / 'table.csv'}", "data.target=kind", "data.imputation=mean"]
    (result,) = run(composed(*overrides, "training.batch_size=8", f"outputs={tmp_path}"), quiet=True)
    fill = prepare(result.config.data).fill
    assert fill is not None
    gappy = torch.tensor([[float("nan"), 0.5]])
    filled = torch.tensor([[float(fill[0]), 0.5]], dtype=torch.float64)
    assert torch.equal(result.network()(gappy), result.network()(filled))


def test_a_network_needs_the_run_folder_alone(tmp_path: Path) -> None:
    rows = [f"{i % 7},{i * i % 11},{'ab'[i % 2]}" for i in range(60)]
    file = tmp_path / "table.csv"
    file.write_text("\n".join(["x,y,kind", *rows]) + "\n")
    overrides = ["data=table", f"data.path={file}", "data.target=kind", "training.batch_size=8"]
    (result,) = run(composed(*overrides, f"outputs={tmp_path}"), quiet=True)
    before = result.network()(torch.tensor([[1.0, 2.0]]))
    file.unlink()
    assert torch.equal(Result(result.folder).network()(torch.tensor([[1.0, 2.0]])), before)
