"""Recorded runs to look at, and the same in a folder that a test may spoil."""

import json
import shutil
from pathlib import Path

import pytest
from runs_fixtures import composed

from mlpexp.runner import run


@pytest.fixture(scope="session")
def browsed_outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs: two depths with two seeds each, and one that diverged; a sweep and a study name some of them."""
    folder = tmp_path_factory.mktemp("browse")
    place = f"outputs={folder}"
    diverging = composed(place, "optimizer=gradient_descent", "optimizer.learning_rate=1e20")
    results = run([composed(place, "replicates=2"), composed(place, "replicates=2", "model.depth=3"), diverging], True)
    shallow = [one.fingerprint for one in results[:2]]
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "1a2b3c4d.json").write_text(json.dumps({"sweep": "1a2b3c4d", "runs": shallow}))
    study = folder / "studies" / "depths" / "quick"
    study.mkdir(parents=True)
    (study / "runs.json").write_text(json.dumps({"rows": [{"runs": shallow[:1]}], "searched": shallow[1:]}))
    (study / "claims.json").write_text(json.dumps({"verdict": "refuted"}))
    return folder


@pytest.fixture
def browsed_copy(browsed_outputs: Path, tmp_path: Path) -> Path:
    """The same runs in a folder that a test may spoil."""
    shutil.copytree(browsed_outputs, tmp_path / "copy")
    return tmp_path / "copy"
