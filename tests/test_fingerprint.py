"""The name of a run is the same for all that changes none of its numbers: spelling, order, replicates, neutral keys."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fingerprints import DIGEST, RICH, name
from hypothesis import given
from hypothesis import strategies as st
from runs_fixtures import SMALL, compose, composed

from mlpexp.config import SEMANTICS, flatten, validate
from mlpexp.section import Neutral, Section, Unhashed

RECORDED = {
    2: {
        (): "641ca7dc07847ac8",
        ("model.activation=tanh", "initialisation=normal", "optimizer=momentum", "seed=3"): "a5be21b917fed837",
        ("data=clusters", "model.dropout=0.1", "training.patience=3", "seeds.batches=9"): "fc2f533923402753",
        ("data=mnist1d", "training.loss=mse", "training.epochs=0", "model.output=identity"): "7706ece0ae0103d0",
        (
            "data=table",
            "data.path=x",
            "data.target=y",
            "data.split.test=0.3",
            "training.restore=final",
            "data.split.validation=0",
        ): "351f84e7355041ce",
    },
}
"""Fingerprints that runs were recorded under, by semantics. A key at its neutral value must not change them."""


@pytest.mark.parametrize("overrides", RECORDED[SEMANTICS])
def test_recorded_runs_keep_their_names(overrides: tuple[str, ...]) -> None:
    assert name(compose(*overrides)) == RECORDED[SEMANTICS][overrides], (
        "recorded runs would be orphaned: give a new key a Neutral value; where numbers changed, raise SEMANTICS"
    )


# --- what must not matter ---


@pytest.mark.parametrize(
    "overrides",
    [
        ["tracking=none"],
        ["tracking.experiment=other", "tracking.uri=sqlite:////nowhere/x.db"],
        ["executor=serial"],
        ["executor.workers=3", "executor.lanes=2"],
        ["outputs=/elsewhere"],
        ["rerun=true"],
        ["measurements=none"],
        ["measurements.every=7"],
        ["replicates=9"],
        ["model.width=64.0"],
        ["model.width=6.4e1"],
        ["optimizer.learning_rate=1e-3"],
        ["optimizer.learning_rate=0.0010"],
        ["training.l2=-0.0"],
        ["training.l2=0"],
        ["optimizer=adam"],
        ["model.depth=7", "model.depth=4"],
    ],
)
def test_what_changes_no_number_changes_no_name(overrides: list[str]) -> None:
    assert name(compose(*overrides)) == name(compose())


@pytest.mark.parametrize(
    "key", ["data.noise", "training.l2", "initialisation.sigma_b", "data.split.validation", "model.dropout"]
)
def test_minus_zero_is_zero(key: str) -> None:
    point = ("data=moons", "initialisation=normal", "training.restore=final")
    assert (
        name(compose(*point, f"{key}=-0.0")) == name(compose(*point, f"{key}=0.0")) == name(compose(*point, f"{key}=0"))
    )


@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(random: Any) -> None:
    def shuffled(content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        keys = list(content)
        random.shuffle(keys)
        return {key: shuffled(content[key]) for key in keys}

    whole = composed(*RICH).model_dump()
    assert name(validate(shuffled(whole))) == name(validate(whole))


@given(st.floats(min_value=1e-12, max_value=1e6))
def test_the_spelling_of_a_number_does_not_matter(rate: float) -> None:
    spellings = {repr(rate), f"{rate:.17e}", f"{rate:.17E}"}
    whole = composed().model_dump()
    names = set()
    for spelling in spellings:
        whole["optimizer"]["learning_rate"] = float(spelling)
        names.add(name(validate(whole)))
    assert len(names) == 1


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_another_process_gives_the_same_name(hash_seed: str, tmp_path: Path) -> None:
    program = (
        "import sys; from mlpexp.composition import compose; from mlpexp.config import fingerprint;"
        f"print(fingerprint(compose(sys.argv[1:]), {DIGEST!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *RICH],
        env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == name(compose(*RICH))


def test_a_config_read_back_from_its_run_has_its_name() -> None:
    for config in (composed(*RICH), composed("seeds.initialisation=4"), composed("data=moons", "optimizer=momentum")):
        assert name(validate(config.record())) == name(config)


# --- neutral values ---


def sections(kind: type[Section] = Section) -> Iterator[type[Section]]:
    for section in kind.__subclasses__():
        yield section
        yield from sections(section)


def test_paths_alone_have_no_part_in_the_name() -> None:
    marked = {
        key
        for section in sections()
        for key, field in section.model_fields.items()
        if any(isinstance(mark, Unhashed) for mark in field.metadata)
    }
    assert marked == {"path"}  # what a path leads to is hashed instead


NEUTRAL = [
    (section, key, mark)
    for section in sections()
    for key, field in section.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, Neutral)
]


@pytest.mark.parametrize(("section", "key", "mark"), NEUTRAL, ids=lambda x: getattr(x, "__name__", str(x)))
def test_a_key_is_at_its_neutral_value_by_default_and_then_left_out(
    section: type[Section], key: str, mark: Neutral
) -> None:
    assert section.model_fields[key].default == mark.value
    keys = {"name": "any", "path": "any", "target": "any"}
    known: dict[str, Any] = {name: value for name, value in keys.items() if name in section.model_fields}
    assert key not in section.model_construct(None, **known).identity()
    assert key in section.model_construct(None, **known, **{key: 0.125}).identity()


def test_neutral_keys_are_left_out_of_the_identity_of_a_run() -> None:
    default = dict(flatten(compose().identity()))
    rich = dict(flatten(compose(*RICH).identity()))
    assert {"model.negative_slope", "model.dropout", "training.patience", "data.label_noise"}.isdisjoint(default)
    assert {"model.negative_slope", "model.dropout", "training.patience", "data.label_noise"} <= set(rich)


# --- replicates ---


def test_replicate_i_has_seed_plus_i() -> None:
    runs = composed("seed=10", "replicates=3").runs()
    assert [run.seed for run in runs] == [10, 11, 12]
    assert [name(run) for run in runs] == [name(composed(f"seed={seed}")) for seed in (10, 11, 12)]


def test_a_stream_that_is_set_alone_stays_the_same_in_all_replicates() -> None:
    runs = compose(*SMALL, *RICH, "seeds.initialisation=5", "replicates=3").runs()
    assert [run.stream_seeds()["initialisation"] for run in runs] == [5, 5, 5]
    for stream in ("batches", "dropout", "noise"):
        assert [run.stream_seeds()[stream] for run in runs] == [0, 1, 2]


def test_streams_that_are_not_drawn_from_have_no_part_in_the_name() -> None:
    full = ["training.sampler=full"]
    assert name(composed(*full)) == name(composed(*full, "training.batch_size=64"))
    assert set(composed(*full).stream_seeds()) == {"initialisation"}
    assert set(composed().stream_seeds()) == {"initialisation", "batches"}
