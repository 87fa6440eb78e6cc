"""From the command line to a config: every refusal's text, nothing written before it, and no password kept."""

from pathlib import Path

import pytest
from runs_fixtures import SMALL, command, files_below

from mlpexp.composition import compose, compose_grid
from mlpexp.config_files import loader
from mlpexp.places import config_folder
from mlpexp.refusals import ConfigError


def refusal(*overrides: str, **options: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        compose(overrides, **options)
    return refused.value.mistakes


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.dept=3", "model.dept is no known key; did you mean model.depth?"),
        ("depth=3", "depth is no known key; did you mean model.depth?"),
        ("sed=3", "sed is no known key; did you mean seed?"),
        ("optimizer.momentum=0.9", "optimizer.momentum is no known key; optimizer has beta1, beta2, epsilon, "),
        ("optimiser=adam", "optimiser is no known key; did you mean optimizer"),
        ("model.depth=0", "model.depth must be at least 1, got 0"),
        ("model.depth=deep", "model.depth must be a whole number, got 'deep'"),
        ("model.depth=null", "model.depth must be a whole number, got None"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate must be a finite number, got nan"),
        ("optimizer.learning_rate=inf", "optimizer.learning_rate must be a finite number, got inf"),
        ("model.activation=rleu", "model.activation must be one of elu, "),
        ("model.activation=rleu", ", or a file of your own that ends in .py; got 'rleu'; did you mean relu?"),
        ("model.activation=3", "model.activation must be text, got 3"),
        ("model.activation=no/such.py", "no/such.py cannot be read (No such file or directory); name a file that"),
        ("model.activation_sources={a: b}", "model.activation_sources is filled in by itself"),
        ("optimizer=adma", "optimizer must be one of adam, adamw, gradient_descent, momentum, nesterov, rmsprop, "),
        ("optimizer=adma", "; got 'adma'; did you mean adam?"),
        ("data=mnist2d", "data must be one of "),
        ("model.depth=2,4", "model.depth=2,4 names several values; train takes one point, `mlpexp sweep …` takes"),
        ("model.depth", "'model.depth' cannot be read; write KEY=VALUE, and quote a value with special characters"),
        ("model.depth=[2", "'model.depth=[2' cannot be read; write KEY=VALUE"),
        ("=3", "'=3' "),
        ("data=idx", "data.path is missing"),
        ("data=table", "data.path is missing"),
        ("model.width=${model.dept}", "Interpolation key 'model.dept' not found"),
        ("outputs=${oc.env:NO_SUCH_VARIABLE}", "Environment variable 'NO_SUCH_VARIABLE' not found"),
        ("+model.colour=red", "model.colour is no known key"),
        ("~model.depth", None),
        ("model=3", "model must be one of mlp; got 3"),
        ("seed=1e30", "seed must be below"),
    ],
)  # fmt: skip
def test_a_refusal_names_key_value_and_the_way_out(override: str, line: str | None) -> None:
    if line is None:  # a key that is left out stands at its default
        assert compose([override]).model.depth == 4
        return
    assert line in "\n".join(refusal(override))


def test_several_mistakes_come_in_one_report() -> None:
    lines = refusal("model.dept=3", "model.width=0", "training.epochs=many", "model.dropout=0.1", "optimizer.beta2=2")
    assert [line.split()[0] for line in lines] == ["model.dept", "model.width", "optimizer.beta2", "training.epochs"]


def test_several_unreadable_overrides_come_in_one_report() -> None:
    assert len(refusal("model.depth=[2", "seed=1", "=3")) == 2


@pytest.mark.parametrize("spelling", ["8", "8.0", "8e0", "0x8"])
def test_numbers_may_be_spelt_as_one_likes(spelling: str) -> None:
    if spelling == "0x8":  # but not as Hydra's text
        assert refusal(f"model.depth={spelling}")
    else:
        assert compose([f"model.depth={spelling}"]).model.depth == 8


def test_later_overrides_win_and_groups_come_first() -> None:
    config = compose(["optimizer.learning_rate=0.5", "optimizer=momentum", "model.depth=3", "model.depth=5"])
    assert (config.optimizer.name, config.optimizer.learning_rate, config.model.depth) == ("gradient_descent", 0.5, 5)


def test_a_grid_has_every_point_in_order_and_every_mistake() -> None:
    with loader() as files:
        points = [point.config for point in compose_grid(["model.depth=2,4", "optimizer=adam,momentum"], files)]
        refused = compose_grid(["model.depth=0,2,-1", "model.activation=relu,rleu"], files)
    names = [(point.model.depth, point.optimizer.name) for point in points if point]
    assert names == [(2, "adam"), (2, "gradient_descent"), (4, "adam"), (4, "gradient_descent")]
    assert [len(point.mistakes) for point in refused] == [1, 2, 0, 1, 1, 2]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of a user's own YAML files."""
    for name, text in {
        "optimizer/careful.yaml": "name: adam\nlearning_rate: 0.0001\n",
        "optimizer/hasty.yaml": "name: adam\nlearning_rate: -1\n",
        "optimizer/broken.yaml": "name: adam\n  learning_rate: [\n",
        "model/deep.yaml": "defaults: [mlp, _self_]\ndepth: 12\n",
    }.items():
        file = tmp_path / "own" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "own"


def test_a_users_own_options_are_found_and_checked_like_ours(own: Path) -> None:
    config = compose(["optimizer=careful", "model=deep"], config_dir=str(own))
    assert (config.optimizer.learning_rate, config.model.depth, config.model.width) == (0.0001, 12, 64)
    (line,) = refusal("optimizer=hasty", config_dir=str(own))
    assert line.startswith("optimizer.learning_rate must be above 0, got -1")
    (line,) = refusal("optimizer=carefull", config_dir=str(own))
    assert "adam" in line
    assert "did you mean careful?" in line


def test_a_file_that_is_no_yaml_is_refused_by_name(own: Path) -> None:
    (line,) = refusal("optimizer=broken", config_dir=str(own))
    assert "broken.yaml" in line


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (line,) = refusal(config_dir=str(tmp_path / "nowhere"))
    assert "nowhere" in line


def test_composing_inside_a_hydra_application_leaves_hydra_as_it_was() -> None:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(config_folder(), job_name="other", version_base="1.3"):
        compose(["model.depth=3"])
        assert hydra_compose("train").model.depth == 4


@pytest.mark.parametrize(
    "words",
    [
        ["model.dept=3", "model.width=0"],
        ["-m", "model.depth=2,0"],
        ["training.batch_size=100000", "tracking=none"],
        ["data=table", "data.path=no_such.csv", "data.target=y", "tracking=none"],
        ["hydra.run.dir=here", "model.depth=0"],
    ],
)
def test_a_refused_command_writes_nothing(words: list[str], tmp_path: Path) -> None:
    done = command("train", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("mlpexp: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= (4 if "-m" in words else 2)  # a sweep refuses its points in a table
    assert files_below(tmp_path) == []


URI = "http://ann:s3cret@127.0.0.1:9"


def test_a_password_is_stored_nowhere(tmp_path: Path) -> None:
    done = command("train", *SMALL, f"tracking.uri={URI}", "training.epochs=0", cwd=tmp_path)
    assert done.returncode == 0
    assert "s3cret" not in done.stdout + done.stderr
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file.name for file in kept if b"s3cret" in file.read_bytes()] == []


def test_a_sweep_stores_and_shows_no_password(tmp_path: Path) -> None:
    done = command("train", "-m", *SMALL, f"tracking.uri={URI}", "training.epochs=0", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 0
    assert "s3cret" not in done.stdout + done.stderr
    assert [file.name for file in tmp_path.rglob("*") if file.is_file() and b"s3cret" in file.read_bytes()] == []


def test_a_shown_config_has_no_password(tmp_path: Path) -> None:
    done = command("train", "--cfg", "job", f"tracking.uri={URI}", cwd=tmp_path)
    assert done.returncode == 0
    assert "tracking:" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    "override", [f"tracking={URI}", f"tracking.name={URI}", f"tracking.uri={URI},{URI}", f"tracking.uri={{{URI}"]
)
def test_a_refusal_tells_no_password(override: str) -> None:
    lines = refusal(override)
    assert "s3cret" not in "\n".join(lines)
