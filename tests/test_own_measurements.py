"""A file of the user's own as a measurement: what it is given, where it appears, what is refused, with numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs_fixtures import SMALL, command, everything, files_below
from test_measurements import Twin, step_of

from mlpexp import composition, own_measurements
from mlpexp.config import fingerprint, validate
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.kernel.own_measurement import Seen, own_measurement
from mlpexp.own_measurement_text import mistake_in, told_in
from mlpexp.own_measurements import check, mistakes_of
from mlpexp.projection import MOST_POINTS, points_of
from mlpexp.refusals import ConfigError
from mlpexp.reproduction import reproduce
from mlpexp.runner import run

HEAD = '"""What it is."""\nimport torch\nUNIT = "ratio"\n'
TURNED = '''\
"""Cosine between −ΔW_l and the
gradient of W_l.

More of it, ${interpolations} and\ttabs, which nobody needs.   
"""

import torch

UNIT = "cosine"


def measure(step):
    found = []
    for update, gradient in zip(step.updates, step.gradients, strict=True):
        sizes = [torch.linalg.vector_norm(x, dim=(1, 2)) for x in (update, gradient)]
        found.append(-(update * gradient).sum(dim=(1, 2)) / (sizes[0] * sizes[1]))
    return torch.stack(found, dim=1)
'''  # noqa: W291 (the text ends a line with blanks on purpose)
LARGEST = f"{HEAD}def measure(step): return torch.stack([d.abs().amax(dim=(1, 2)) for d in step.deltas]).amax(dim=0)\n"


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    file = tmp_path / "files" / "turned.py"
    file.parent.mkdir()
    file.write_text(TURNED)
    (file.parent / "largest.py").write_text(LARGEST)
    return file


def measuring(*files: Path, outputs: Path | None = None, keys: tuple[str, ...] = ()) -> list[str]:
    place = [f"outputs={outputs}"] if outputs else []
    return [*SMALL, f"measurements.quantities=[basic,{','.join(map(str, files))}]", *place, *keys]


# --- what it is given ---

LAYOUTS = [
    Layout((4, 6, 6, 5, 3), True, None, False),
    Layout((4, 5, 5, 5, 3), True, None, True),
    Layout((4, 5, 3), False, None, False),
    Layout((4, 5, 5, 3), True, BatchNorm("after", True, 1e-5, 0.1), False),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_what_a_measurement_sees_is_what_autograd_says_of_each_network(layout: Layout) -> None:
    loss = ("mse", "identity")
    step, inputs, targets = step_of(layout, "tanh", loss=loss)
    seen = Seen(step)
    for lane in range(step.network.lanes):
        twin = Twin(step, lane, inputs, targets, loss)
        for l in range(layout.depth):
            pairs = {
                "z": (seen.z[l], twin.z[l]), "outputs": (seen.outputs[l], twin.x[l]),
                "deltas": (seen.deltas[l], twin.deltas[l]), "gradients": (seen.gradients[l], twin.gradients[l]),
                "weights": (seen.weights[l], twin.weight(l).T), "updates": (seen.updates[l], -0.01 * twin.gradients[l]),
                "first_weights": (seen.first_weights[l], twin.weight(l, twin.start).T),
                "inputs": (seen.inputs[l], inputs[lane] if l == 0 else twin.x[l - 1]),
            }  # fmt: skip
            if layout.bias:
                pairs["biases"] = seen.biases[l], twin.net.linears[l].bias.detach()
                pairs["bias_gradients"] = seen.bias_gradients[l], twin.deltas[l].sum(dim=0) / step.trace.rows
            for name, (found, expected) in pairs.items():
                torch.testing.assert_close(found[lane], expected, rtol=1e-9, atol=1e-12, msg=f"{name} of layer {l}")
    assert len(seen.biases) == len(seen.bias_gradients) == layout.depth * layout.bias


def test_a_measurement_is_what_numpy_says_of_one_network_and_layer_after_the_other() -> None:
    step, _, _ = step_of(LAYOUTS[0], "tanh", dtype=torch.float32)
    assert step.update is not None
    step.update.copy_(torch.randn(step.update.shape, generator=torch.Generator().manual_seed(0)))
    found = own_measurement(TURNED, "turned.py")(step)
    assert found.dtype == torch.float64
    for lane in range(len(found)):
        for l in range(step.layout.depth):
            change, slope = (
                step.layout.weight(rows, l)[lane].numpy().ravel().astype(float) for rows in (step.update, step.gradient)
            )
            cosine = -np.dot(change, slope) / np.sqrt(np.dot(change, change) * np.dot(slope, slope))
            assert float(found[lane, l]) == pytest.approx(cosine, rel=1e-5, abs=1e-7)  # terms of a small one cancel


# --- where it appears ---


def test_gradient_descent_is_not_turned_and_adam_is(turned: Path, tmp_path: Path) -> None:
    descent, adam = (
        run(composition.compose(measuring(turned, outputs=tmp_path, keys=(f"optimizer={name}",))), quiet=True)[0]
        for name in ("gradient_descent", "adam")
    )
    np.testing.assert_allclose(descent.record["turned"][:-1], 1, rtol=1e-5)
    assert np.isnan(descent.record["turned"][-1]).all()  # no update follows
    assert (np.nanmax(adam.record["turned"][1:], axis=0) < 0.9).all()


def test_it_is_recorded_shown_and_drawn_and_changes_nothing(turned: Path, tmp_path: Path) -> None:
    """Trained in worker processes, looked at, and reproduced when the file has gone."""
    from mlpexp.browse.page import page
    from mlpexp.illustration import illustrate
    from mlpexp.run_note import note_of

    largest, keys = turned.with_name("largest.py"), ("measurements.schedule.largest=5", "training.dtype=float64")
    local = [key for key in measuring(turned, largest, outputs=tmp_path / "out", keys=keys) if "executor" not in key]
    config = composition.compose([*local, "executor.workers=2", "replicates=2"])
    results = run(config, quiet=True)
    without = run(composition.compose([*SMALL, f"outputs={tmp_path / 'bare'}", keys[1], "replicates=2"]), quiet=True)
    for result, bare in zip(results, without, strict=True):
        assert result.fingerprint == bare.fingerprint
        assert {name: everything(result)[name] for name in everything(bare)} == everything(bare)
    record = results[0].record
    steps, values = record.measured("largest")
    assert steps.tolist() == [0, 5, 10, 15, 20, 25, 30, 34]
    assert (values >= record["delta_norm"][steps, 1] / np.sqrt(10)).all()
    assert record["turned"].shape == (35, 2)
    illustrate(results)
    assert [(results[0].folder / f"{name}.png").exists() for name in ("turned", "largest")] == [True, True]
    told = "\n".join(page(results[0], tmp_path / "out"))
    assert "turned [cosine]: Cosine between −ΔW_l and the gradient of W_l." in told
    assert max(len(line) for line in told.splitlines() if str(tmp_path) not in line) <= 80
    note = note_of(results[0], "")
    assert "| turned\u2003 | Cosine between −ΔW_l and the gradient of W_l. [cosine], `turned@" in note
    turned.unlink()
    assert reproduce(results[0].fingerprint, str(tmp_path / "out"), quiet=True).equal


def test_mlflow_is_told_within_its_points(turned: Path, tmp_path: Path) -> None:
    for depth, layers in ((2, 2), (60, 26)):
        words = measuring(turned, turned.with_name("largest.py"), outputs=tmp_path, keys=(f"model.depth={depth}",))
        (result,) = run(composition.compose([*words, "training.epochs=1"]), quiet=True)
        points = points_of(result, "")
        assert len(points) <= MOST_POINTS
        own = {point.key for point in points if "turned" in point.key}
        assert {"profile/turned_start", "profile/turned_end", f"turned/layer_{depth:02d}"} <= own
        assert len(own) == 2 + layers
        assert sum(point.key == "largest" for point in points) > 3


def test_charts_of_the_users_own_stand_in_the_view_of_layers() -> None:
    from mlpexp.views import states

    metrics = ["turned/layer_01", "turned/layer_02", "largest", "loss/train", "sharpness", "profile/turned_start"]
    state = states(metrics)["layers"]
    charts = {chart["metricKey"] for chart in state["compareRunCharts"] if not chart["deleted"]}
    assert {"turned/layer_01", "turned/layer_02", "largest", "profile/turned_start"} <= charts
    assert "sharpness" not in charts
    assert any(section["name"].startswith("turned, of your own") for section in state["compareRunSections"])


# --- its text is what a record covers ---


def test_the_text_is_measured_not_the_path_and_the_fingerprint_knows_neither(turned: Path, tmp_path: Path) -> None:
    asked = composition.compose(measuring(turned))
    other = tmp_path / "turned.py"
    other.write_text(TURNED)
    elsewhere = composition.compose(measuring(other))
    assert fingerprint(asked, "") == fingerprint(composition.compose(SMALL), "")
    assert asked.measurements.covers(elsewhere.measurements)
    other.write_text(TURNED.replace("-(update", "(update"))
    changed = composition.compose(measuring(other))
    assert not asked.measurements.covers(changed.measurements)
    union = changed.measurements.union(asked.measurements)
    assert union.covers(changed.measurements)
    assert not union.covers(asked.measurements)
    again = validate(asked.record())
    assert again.measurements == asked.measurements


def test_another_text_is_measured_anew_and_never_shown_for_the_old(turned: Path, tmp_path: Path) -> None:
    (before,) = run(composition.compose(measuring(turned, outputs=tmp_path / "out")), quiet=True)
    first, trained = before.record["turned"], before.facts["started"]
    (same,) = run(composition.compose(measuring(turned, outputs=tmp_path / "out")), quiet=True)
    assert same.facts["started"] == trained
    turned.write_text(TURNED.replace("-(update", "(update"))
    (after,) = run(composition.compose(measuring(turned, outputs=tmp_path / "out")), quiet=True)
    assert after.folder == before.folder
    assert after.facts["started"] > trained
    np.testing.assert_array_equal(after.record["turned"], -first)
    (kept,) = run(composition.compose([*SMALL, f"outputs={tmp_path / 'out'}"]), quiet=True)
    assert kept.facts["started"] == after.facts["started"]


def test_composing_runs_nothing(turned: Path) -> None:
    turned.write_text(f"{HEAD}raise SystemExit('this file was run')")
    assert composition.compose(measuring(turned)).measurements.own == {"turned": str(turned)}


def test_description_and_unit_are_read_without_running() -> None:
    assert told_in(TURNED) == ("Cosine between −ΔW_l and the gradient of W_l.", "cosine")
    assert told_in(f"{TURNED}\nraise SystemExit") == told_in(TURNED)


# --- what is refused ---

EACH = "for g in step.gradients"
REFUSED = {
    "": ["must define measure(step)"],
    "raise SystemExit(3)": ["cannot be run: SystemExit: 3 (line 4)"],
    "def measure(step): return 1.0": ["measure(step) must give a tensor, got float"],
    "def measure(step): return step.weight": ["it fails: AttributeError", "'weight' (line 4)"],
    f"def measure(step): return torch.stack([g.sum(dim=(1, 2)) {EACH}])": ["must give [R, L] or [R], here [1, 3]"],
    f"def measure(step): return torch.stack([g.sum() {EACH}])": ["must give [R, L] or [R], here"],
    "def measure(step): return step.gradients[0].sum(dim=(1, 2)).to(torch.complex64)": ["real numbers"],
    f"def measure(step): return torch.stack([g.abs_().sum(dim=(1, 2)) {EACH}], dim=1)": ["it changes what it is given"],
    f"def measure(step): return torch.stack([g.sum().expand(len(g)) {EACH}], dim=1)": ["it mixes lanes: a network has"],
    f"def measure(step): return torch.stack([torch.rand(len(g)) {EACH}], dim=1)": ["when it is called again"],
    "def measure(step): return step.gradients[0].sum(dim=(1, 2)) if len(step.z) > 1 else step.z[0].sum(dim=1)[:, :1]":
        ["must give [R, L] or [R], here [3, 1] or [3]; got [3, 1]", "choose one"],
}  # fmt: skip


@pytest.mark.parametrize("source", REFUSED)
def test_a_mistake_is_told_with_its_place_and_numbers(source: str) -> None:
    (line,) = check("/somewhere/mine.py", HEAD + source)
    assert any(part in line for part in REFUSED[source]), line


def test_other_bits_in_company_are_refused() -> None:
    (line,) = check("mine.py", f"{HEAD}def measure(step): return torch.stack([g.std(dim=(1, 2)) {EACH}], dim=1)")
    assert "has other bits alone than beside others" in line
    assert "torch.linalg.vector_norm" in line


@pytest.mark.parametrize("source", [TURNED, LARGEST, f"{HEAD}def measure(step): return step.z[0][:, 0, 0] > 0"])
def test_what_is_right_is_taken(source: str) -> None:
    assert check("mine.py", source) == []


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("turned", "def measure(step): return 1", "must begin with a docstring"),
        ("turned", '"""What."""\n', "must say its unit, as UNIT"),
        ("turned", '"""What."""\nUNIT = 3\n', "must say its unit, as UNIT"),
        ("turned", '"""What."""\ndef measure(', "it is no Python: "),
        ("loss", TURNED, "loss is a name of mlpexp's own"),
        ("sharpness", TURNED, "sharpness is a name of mlpexp's own"),
        ("My-Own", TURNED, "must be small letters, digits and _; got 'My-Own'"),
    ],
)
def test_a_file_says_what_it_is(name: str, text: str, reason: str) -> None:
    assert reason in mistake_in(f"/somewhere/{name}.py", text)


def test_what_is_refused_is_told_in_a_line_before_anything_is_written(turned: Path) -> None:
    flat = turned.with_name("flat.py")
    flat.write_text(f"{HEAD}print('printed')\ndef measure(step): return torch.zeros(2, 2, 2)\n")
    done = command("train", "tracking=none", "measurements.quantities=[basic,flat.py]", cwd=turned.parent)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"mlpexp: measurements.quantities: {flat}: measure(step) must give [R, L] or [R]")
    assert files_below(turned.parent) == ["flat.py", "largest.py", "turned.py"]
    flat.write_text("import os; os._exit(7)")
    (line,) = mistakes_of([composition.compose(measuring(flat))])
    assert line == f"measurements.quantities: {flat}: it must begin with a docstring that says what is measured"


def test_what_cannot_be_read_or_is_named_twice_is_refused(turned: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.py cannot be read \(No such file or directory\)"):
        composition.compose(measuring(tmp_path / "none.py"))
    (tmp_path / "turned.py").write_text(TURNED)
    with pytest.raises(ConfigError, match="are both called turned; rename one of them"):
        composition.compose(measuring(turned, tmp_path / "turned.py"))
    record = composition.compose(measuring(turned)).record()
    record["measurements"]["quantities"] = ["delta_norm"]
    with pytest.raises(ConfigError, match=r"measurements\.sources is filled in by itself"):
        validate(record)


def test_a_measurement_that_fails_on_the_way_fails_its_run_with_the_files_name(turned: Path) -> None:
    turned.write_text(TURNED.replace("    found = []", "    found = []\n    assert step.z[0].shape[2] != 8, 'eight'"))
    assert own_measurements.check(str(turned), turned.read_text()) == []
    done = command("train", *measuring(turned), cwd=turned.parent)
    assert done.returncode == 1
    assert f"{turned} fails: AssertionError: eight" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_measurement_is_told_in_full(turned: Path) -> None:
    done = command("measurements", "turned.py", cwd=turned.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("turned: Cosine between −ΔW_l and the gradient of W_l.\nunit      cosine\n")
    turned.write_text(HEAD)
    refused = command("measurements", "turned.py", cwd=turned.parent)
    assert refused.returncode == 2
    assert refused.stderr == "mlpexp: turned.py: it cannot be run: NameError: the file must define measure(step)\n"
