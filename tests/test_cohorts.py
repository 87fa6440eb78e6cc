"""Which runs train side by side: a partition into cohorts of equal keys that fit the memory and feed all workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_fixtures import composed

from mlpexp.cohorts import MOST_LANES, Size, cohort_key, group, lane_bytes
from mlpexp.config import Config
from mlpexp.refusals import ConfigError

SIZE = Size(inputs=64, outputs=10, examples=1077)
PLENTY = 2**40


def size_of(config: Config) -> Size:
    return SIZE


@st.composite
def points(draw: st.DrawFn) -> Config:
    """A run that may share a cohort with another, or not."""
    base = composed()
    model = base.model.model_copy(
        update={"width": draw(st.sampled_from([8, 16, 300])), "depth": draw(st.integers(1, 3))}
    )
    training = base.training.model_copy(
        update={"epochs": draw(st.integers(0, 2)), "l2": draw(st.sampled_from([0.0, 0.1]))}
    )
    return base.model_copy(update={"model": model, "training": training, "seed": draw(st.integers(0, 5))})


@given(
    runs=st.lists(points(), max_size=40),
    workers=st.integers(1, 8),
    lanes=st.none() | st.integers(1, 7),
    networks_per_worker=st.integers(1, 20),
)
def test_grouping_is_a_partition_that_fits_and_feeds_all_workers(
    runs: list[Config], workers: int, lanes: int | None, networks_per_worker: int
) -> None:
    largest = max((lane_bytes(run, SIZE) for run in runs), default=1)
    memory = workers * networks_per_worker * largest
    cohorts = group(runs, size_of, workers, memory, lanes)
    assert sorted(i for cohort in cohorts for i in cohort) == list(range(len(runs)))
    for cohort in cohorts:
        assert cohort == sorted(cohort)
        assert len({cohort_key(runs[i]) for i in cohort}) == 1
        assert 1 <= len(cohort) <= (lanes or MOST_LANES)
        assert len(cohort) * lane_bytes(runs[cohort[0]], SIZE) <= memory // workers
    assert len(cohorts) >= min(workers, len(runs))


@given(st.lists(points(), min_size=1, max_size=20), st.permutations(range(20)))
def test_the_order_of_runs_changes_no_cohorts_size(runs: list[Config], order: list[int]) -> None:
    shuffled = [runs[i] for i in order if i < len(runs)]
    sizes = [sorted(map(len, group(r, size_of, 2, PLENTY))) for r in (runs, shuffled)]
    assert sizes[0] == sizes[1]


def test_the_largest_work_comes_first() -> None:
    runs = [composed(f"model.width={width}", "model.depth=3") for width in (8, 64, 16)]
    assert [cohort[0] for cohort in group(runs, size_of, 1, PLENTY)] == [1, 2, 0]


def test_no_runs_give_no_cohorts() -> None:
    assert group([], size_of, 4, PLENTY) == []


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "seeds.batches=3",
        "optimizer=momentum",
        "optimizer.learning_rate=0.5",
        "optimizer.epsilon_placement=inside",
        "initialisation=normal",
        "initialisation.gain=2",
        "data.label_noise=0.1",
        "model.dropout=0.1",
        "model.activation=tanh",
        "model.activation=elu model.alpha=0.5",
        "model.activation=[relu]",
        "training.l2=0.1",
        "training.label_smoothing=0.1",
        "training.until_loss=0.1",
        "training.patience=2",
        "training.restore=final",
        "tracking.experiment=other",
        "outputs=elsewhere",
    ],
)
def test_may_differ_within_a_cohort(override: str) -> None:
    assert cohort_key(composed(*override.split())) == cohort_key(composed())


@pytest.mark.parametrize(
    "override",
    [
        "model.depth=3",
        "model.width=9",
        "model.activation=tanh measurements=full",
        "model.bias=false",
        "model.output=sigmoid",
        "data=iris",
        "data.split.seed=1",
        "data.normalisation=minmax",
        "training.epochs=3",
        "training.batch_size=32",
        "training.sampler=full",
        "training.loss=mse",
        "training.epochs=null training.updates=34",
        "training.dtype=float64",
        "training.evaluate_every=2",
        "measurements=none",
        "measurements.every=2",
        "executor.device=cuda",
    ],
)
def test_parts_cohorts(override: str) -> None:
    assert cohort_key(composed(*override.split())) != cohort_key(composed())


def test_hubers_losses_that_bend_elsewhere_are_of_other_cohorts() -> None:
    one, other = (composed("training.loss=huber", f"training.huber_delta={bend}") for bend in (0.5, 2))
    assert cohort_key(one) != cohort_key(other)


def test_a_run_that_does_not_fit_alone_is_refused_with_both_sizes_and_the_way_out() -> None:
    large = composed("model.width=4096", "model.depth=8")
    with pytest.raises(ConfigError, match=r"model\.depth=8 model\.width=4096 needs about .* GB a network") as refused:
        group([large], size_of, 4, 4 * 10**9)
    assert "each worker has 1.0 GB" in str(refused.value)
    assert "executor.workers=1" in str(refused.value)


@pytest.mark.parametrize(
    "more", ["model.width=16", "model.depth=4", "training.dtype=float64", "training.batch_size=512"]
)
def test_a_larger_network_or_batch_is_reckoned_larger(more: str) -> None:
    assert lane_bytes(composed(more), SIZE) > lane_bytes(composed(), SIZE)


def test_memory_does_not_depend_on_the_number_of_epochs() -> None:
    assert lane_bytes(composed("training.epochs=1000"), SIZE) == lane_bytes(composed(), SIZE)
