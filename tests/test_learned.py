"""What a network has learned: each picture's numbers against a way of their own."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from runs_fixtures import trained

from mlpexp import learned
from mlpexp.cli import main
from mlpexp.figures import png
from mlpexp.learned_figures import attributions, regions, slices, units, weight_images
from mlpexp.records import metric
from mlpexp.refusals import ConfigError
from mlpexp.results import Result

PLANE = ("data=spirals", "model.depth=3")


@cache
def digits(seed: int = 0) -> Result:
    (run,) = trained("model.depth=3", f"seed={seed}")
    return run


@cache
def plane() -> Result:
    (run,) = trained(*PLANE)
    return run


def test_first_weights_are_the_columns_of_w1_the_longest_first() -> None:
    images = learned.first_weights(digits(), (8, 8))
    weight = digits().network().state_dict()["layers.0.weight"].double().numpy()
    assert images.shape == (8, 8, 8)
    lengths = np.linalg.norm(images.reshape(8, -1), axis=1)
    assert (np.diff(lengths) <= 0).all()
    assert sorted(map(tuple, images.reshape(8, -1))) == sorted(map(tuple, weight))
    assert len(weight_images(images, "t").axes) == 10  # a grid of 3 × 3, and the scale


def test_regions_are_what_the_network_says_at_each_place() -> None:
    parts = learned.parts_of(plane())
    x, y, classes, probability = learned.decision_regions(plane(), parts)
    network = plane().network()
    for i, j in ((0, 0), (17, 120), (199, 3)):
        with torch.no_grad():
            p = float(network(torch.tensor([[x[j], y[i]]]))[0, 0])
        assert classes[i, j] == (p > 0.5)
        assert probability[i, j] == pytest.approx(max(p, 1 - p), abs=1e-6)
    every = learned.raw(parts, np.concatenate([parts.training.features, parts.test.features]))
    assert x[0] < every[:, 0].min() < every[:, 0].max() < x[-1]
    labels = parts.test.targets.astype(np.int64)
    figure = regions(x, y, classes, probability, learned.raw(parts, parts.test.features), labels, ("0", "1"), "t")
    assert sum(np.asarray(drawn.get_offsets()).shape[0] for drawn in figure.axes[0].collections) == len(labels)


def test_hidden_outputs_are_in_the_order_of_classes() -> None:
    parts = learned.parts_of(digits())
    found = learned.hidden_outputs(digits(), parts)
    assert [layer.shape for layer in found] == [(256, 8), (256, 8)]
    order = np.argsort(parts.test.targets[:256], kind="stable")
    weights = digits().network().state_dict()
    z = torch.from_numpy(parts.test.features[:256][order]).float() @ weights["layers.0.weight"].T
    z = z + weights["layers.0.bias"]
    assert found[0] == pytest.approx(torch.relu(z).numpy(), abs=1e-5)
    assert len(units(found, "t").axes) == 4


def test_attributions_are_slopes_by_differences() -> None:
    parts = learned.parts_of(digits())
    found = learned.attribution(digits(), parts)
    assert found.shape == (10, 64)
    network = digits().network().double()
    network.dtype = torch.float64
    own, step = parts.test.features[parts.test.targets == 3], 1e-6
    for pixel in (20, 35):
        sides = []
        for sign in (1, -1):
            moved = own.copy()
            moved[:, pixel] += sign * step
            with torch.no_grad():
                sides.append(network.logits(torch.from_numpy(learned.raw(parts, moved)))[:, 3].numpy())
        slope = (sides[0] - sides[1]) / (2 * step)
        assert found[3, pixel] == pytest.approx(np.abs(own[:, pixel] * slope).mean(), rel=1e-4)
    png(attributions(found, parts.dataset.classes, (8, 8), "t"))
    (axes,) = attributions(found[:2], ("a", "b"), None, "t").axes
    assert len(axes.patches) == 60


def test_a_slice_begins_and_ends_at_the_two_solutions() -> None:
    parts, places = learned.parts_of(digits()), np.array([0.0, 0.3, 1.0])
    found = learned.loss_slice(digits(), digits(1), parts, places)
    for part, values in found.items():
        assert values[0] == pytest.approx(digits().scores[metric("loss", part)], rel=1e-5)
        assert values[-1] == pytest.approx(digits(1).scores[metric("loss", part)], rel=1e-5)
    assert len(slices(places, found, ("a", "b")).axes[0].lines) == 5


def test_a_slice_of_two_shapes_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes equal widths and equal data"):
        learned.loss_slice(digits(), plane(), learned.parts_of(digits()), np.zeros(1))


def test_the_command_tells_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    run = plane()
    outputs = run.folder.parent.parent
    assert main(["pictures", run.fingerprint, "--outputs", str(outputs), "--no-tracking"]) == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {file.name for file in files} == {"attribution.png", "gradient_flow.png", "regions.png", "units.png"}
    assert all(file.stat().st_size > 5000 for file in files)
    assert main(["pictures", run.fingerprint, run.fingerprint, "--outputs", str(outputs), "--no-tracking"]) == 2
    assert "named twice" in capsys.readouterr().err
