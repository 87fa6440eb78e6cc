"""The sources: what they hold, whose truth is known, and that they leave the world as it was."""

import random
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlpexp.data import DataError, data_digest, load, prepare
from mlpexp.data.catalogue import catalogue_rows, default_config, install_command
from mlpexp.data.prepare import SOURCES, _load, _undisturbed
from mlpexp.data.splice_sites import CLASSES, bayes_accuracy, probabilities
from mlpexp.data_schema import DataBase

NAMES = [name for name in SOURCES if name not in ("table", "idx")]
GENERATORS = [name for name in NAMES if hasattr(default_config(name), "seed")]
SIZES = {
    "digits": (1797, 64, 10), "breast_cancer": (569, 30, 2), "wine": (178, 13, 3), "iris": (150, 4, 3),
    "diabetes": (442, 10, 0), "fashion_mnist": (70000, 784, 10), "fashion_small": (13000, 196, 10),
    "mnist1d": (5000, 40, 10), "splice": (3186, 180, 3),
    "golub": (38, 3051, 2),
}  # fmt: skip


def installed(name: str) -> DataBase:
    command = install_command(name)
    if command:
        pytest.skip(f"{name} is not installed; `{command}` lifts this")
    return default_config(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_source_trains_from_its_defaults(name: str) -> None:
    parts = prepare(installed(name))
    dataset = parts.dataset
    assert dataset.name == name
    assert len(parts.training) + len(parts.validation) + len(parts.test) == len(dataset.targets)
    assert np.isfinite(parts.training.features).all()
    assert dataset.feature_names == () or len(dataset.feature_names) == dataset.inputs
    if dataset.task == "regression":
        assert dataset.targets.shape == (len(dataset.features), 1)
    else:
        assert set(parts.training.targets) == set(range(len(dataset.classes)))
    if name in SIZES:
        assert (*dataset.features.shape, len(dataset.classes)) == SIZES[name]


def state_of_the_world() -> tuple[object, ...]:
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 (what packages reseed)
    return random.getstate(), str(legacy), legacy["state"]["key"].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("name", NAMES)
def test_loading_leaves_the_global_generators_alone(name: str) -> None:
    config = installed(name)
    _load.cache_clear()
    random.seed(name)  # a state that no source leaves behind
    np.random.seed(list(name.encode()))  # noqa: NPY002 (as such a package does)
    before = state_of_the_world()
    load(config)
    assert state_of_the_world() == before


def test_digests_are_the_same_in_another_process() -> None:
    program = (
        "from mlpexp.data import data_digest; from mlpexp.data.catalogue import default_config\n"
        "for name in ('teacher', 'splice_sites', 'iris'): print(data_digest(default_config(name)))"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert there == [data_digest(default_config(name)) for name in ("teacher", "splice_sites", "iris")]


def test_importing_the_package_loads_no_heavy_library() -> None:
    program = (
        "import sys, mlpexp.data; print([m for m in ('sklearn', 'pandas', 'pyarrow', 'rdata') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_follows_its_own_seed(name: str) -> None:
    one, again, other = (load(default_config(name, seed=seed)) for seed in (1, 1, 2))
    assert one.digest == again.digest
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("clusters", {"classes": 2, "separation": 1.0}),
        ("clusters", {"classes": 5, "separation": 2.0, "features": 4}),
        ("clusters", {"classes": 3, "separation": 2.0, "features": 1}),
        ("xor", {"noise": 0.8}),
    ],
)
def test_the_best_rule_reaches_the_bayes_accuracy(name: str, keys: dict[str, Any]) -> None:
    n = 200_000
    dataset = load(default_config(name, examples=n, **keys))
    x, labels = dataset.features.astype(np.float64), dataset.targets
    if name == "xor":
        guess = (x[:, 0] * x[:, 1] < 0).astype(int)
    else:  # the nearest of the centres, here estimated from the examples
        centres = np.stack([x[labels == label].mean(axis=0) for label in range(len(dataset.classes))])
        guess = ((x[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    accuracy = (guess == labels).mean()
    assert dataset.bayes_accuracy is not None
    assert abs(accuracy - dataset.bayes_accuracy) < 4 * (0.5 / n**0.5 + 0.0016 * (name == "clusters"))


@pytest.mark.parametrize("conservation", [0.3, 0.7, 1.0])
def test_the_posterior_of_splice_sites_reaches_their_bayes_accuracy(conservation: float) -> None:
    n = 60_000
    dataset = load(default_config("splice_sites", examples=n, flank=8, conservation=conservation))
    bits = dataset.features.reshape(n, 16, 4)[:, 2:14]  # the twelve bases about the boundary
    with np.errstate(divide="ignore"):
        logarithms = np.log(probabilities(conservation))  # [3, 4, 12]
    words = bits.argmax(axis=2)  # [n, 12]
    scores = np.stack([table[words, np.arange(12)].sum(axis=1) for table in logarithms], axis=1)
    accuracy = ((scores + np.log([0.25, 0.25, 0.5])).argmax(axis=1) == dataset.targets).mean()
    assert dataset.bayes_accuracy is not None
    assert abs(accuracy - dataset.bayes_accuracy) < 4 * 0.5 / n**0.5
    assert dataset.classes == CLASSES


def test_nothing_to_learn_leaves_the_largest_share() -> None:
    assert bayes_accuracy(0.0) == pytest.approx(0.5, abs=1e-12)
    assert np.allclose(probabilities(0.6).sum(axis=1), 1.0)


def test_parity_is_that_of_the_relevant_bits_and_no_row_repeats() -> None:
    dataset = load(default_config("parity", bits=7, relevant=3))
    assert len(np.unique(dataset.features, axis=0)) == 2**7
    assert np.array_equal(dataset.features[:, :3].prod(axis=1) > 0, dataset.targets % 2 == 1)  # of three, odd ⇔ +


def test_sine_scatters_about_its_curve_by_its_noise() -> None:
    dataset = load(default_config("sine", examples=20_000, frequency=2.0, noise=0.3))
    residual = dataset.targets - np.sin(4 * np.pi * dataset.features.astype(np.float64))
    assert dataset.bayes_mse == pytest.approx(0.09)
    assert (residual**2).mean() == pytest.approx(0.09, rel=0.05)


def test_a_sines_outliers_have_their_own_noise_and_stay_outliers_at_a_larger_share() -> None:
    def scatter(share: float) -> Any:
        dataset = load(default_config("sine", examples=4000, outliers=share))
        return (dataset.targets - np.sin(2 * np.pi * dataset.features.astype(np.float64)))[:, 0]

    clean, some, many = scatter(0.0), scatter(0.1), scatter(0.3)
    moved, moved_more = np.abs(some - clean) > 1e-5, np.abs(many - clean) > 1e-5
    assert (moved.sum(), moved_more.sum()) == (400, 1200)
    assert (moved_more | ~moved).all()
    assert some[moved].std() == pytest.approx(5.0, rel=0.1)
    with pytest.raises(ValueError, match="outlier_size=2 has no effect with"):
        default_config("sine", outlier_size=2.0)


def test_the_teacher_draws_classes_by_its_largest_output() -> None:
    dataset = load(default_config("teacher", classes=4, depth=3))
    assert dataset.task == "multiclass"
    assert np.bincount(dataset.targets).min() > 50
    assert load(default_config("teacher")).targets.std() == pytest.approx(1.0, abs=1e-6)


def test_a_teachers_features_in_other_units_are_the_same_problem() -> None:
    plain, other = (default_config("teacher", features=3, scale_ratio=ratio) for ratio in (1.0, 100.0))
    assert np.allclose(load(plain).features, load(other).features * [1.0, 10.0, 100.0], rtol=1e-6)
    assert np.array_equal(load(plain).targets, load(other).targets)
    assert np.allclose(prepare(plain).training.features, prepare(other).training.features, atol=1e-5)


def test_mnist1d_is_the_published_set_before_it_is_standardised() -> None:
    dataset = load(installed("mnist1d"))
    package = import_module("mnist1d.data")
    with _undisturbed():
        published = package.make_dataset(package.get_dataset_args())
    raw = dataset.features.astype(np.float64)
    assert np.allclose((raw - raw.mean()) / raw.std(), np.concatenate([published["x"], published["x_test"]]), atol=1e-5)
    assert np.array_equal(dataset.targets, np.concatenate([published["y"], published["y_test"]]))
    assert dataset.official_test == 1000


def test_splice_keeps_its_185_repeated_rows_together() -> None:
    config = installed("splice")
    dataset = load(config)
    assert dataset.groups is not None
    assert len(dataset.groups) - len(np.unique(dataset.groups)) == 185
    whole = prepare(config)
    parts = [set(map(bytes, part.features)) for part in (whole.training, whole.validation, whole.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_golub_has_a_row_for_each_patient() -> None:
    dataset = load(installed("golub"))
    assert np.bincount(dataset.targets).tolist() == [27, 11]
    assert dataset.feature_names[0] == "AFFX-HUMISGF3A/M97935_MA_at"
    assert dataset.feature_names[-1] == "M71243_f_at"


def test_diabetes_is_not_yet_standardised() -> None:
    ages = load(default_config("diabetes")).features[:, 0].astype(np.float64)
    assert (ages.min(), ages.max()) == (19, 79)


@pytest.mark.parametrize(
    ("name", "module", "words"),
    [
        ("mnist1d", "mnist1d", "pip install mnist1d"),
        ("splice", "rdata", "pip install rdata"),
        ("golub", "rdata", "pip install rdata"),
    ],
)
def test_a_missing_package_names_its_command(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, words: str
) -> None:
    if name != "mnist1d":
        installed(name)
    for known in [m for m in sys.modules if m.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    _load.cache_clear()
    with pytest.raises(DataError, match=words):
        load(default_config(name))


def test_missing_r_packages_name_their_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mlpexp.data.biology.LIBRARIES", (str(tmp_path),))
    _load.cache_clear()
    with pytest.raises(DataError, match="apt-get install r-cran-mlbench"):
        load(default_config("splice"))
    assert "apt-get install r-bioc-multtest" in next(e for e in catalogue_rows() if e.name == "golub").install
    with pytest.raises(DataError, match="is no file"):
        load(default_config("splice", path=str(tmp_path / "DNA.rda")))
    (tmp_path / "DNA.rda").write_bytes(b"no R data")
    if not install_command("mnist1d"):
        with pytest.raises(DataError, match="cannot be read as an R data file"):
            load(default_config("splice", path=str(tmp_path / "DNA.rda")))


def test_a_generator_that_does_not_fit_in_memory_is_refused() -> None:
    with pytest.raises(DataError, match="GB of memory"):
        load(default_config("clusters", examples=10**8, features=10**5))
