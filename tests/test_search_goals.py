"""What a search makes better and must hold: names of recorded scalars; the test part chooses nothing."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_fixtures import composed, trained

from mlpexp.refusals import ConfigError
from mlpexp.search.best import curse
from mlpexp.search.goals import Constraint, Goals, scalar
from mlpexp.search_schema import Search
from mlpexp.verdicts import mean


def of(task: str = "multiclass", **keys: Any) -> Goals:
    return Goals.of(Search.model_validate({"name": "tpe"} | keys), task)


def test_without_a_name_the_validation_score_is_made_better() -> None:
    assert (of().names, of().directions) == (("accuracy/validation",), ["maximize"])
    assert (of("regression").names, of("regression").directions) == (("loss/validation",), ["minimize"])
    both = of(maximize="accuracy/validation", minimize=["parameters"])
    assert (both.names, both.signs) == (("accuracy/validation", "parameters"), (1, -1))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"maximize": ["accuracy/test"]}, "accuracy/test looks at the test part, which chooses nothing; use acc"),
        ({"minimize": ["gap/loss"]}, "gap/loss looks at the test part, which chooses nothing; use loss/validation"),
        ({"constraints": ["loss/test < 1"]}, "loss/test looks at the test part"),
        ({"maximize": ["acuracy/validation"]}, "did you mean accuracy/validation?"),
        ({"constraints": ["delta_ratio"]}, "'delta_ratio' is none; write 'delta_ratio >= 1e-6'"),
        ({"constraints": ["delta_ratio >= nan"]}, "is none; write"),
        ({"maximize": ["loss/train"], "minimize": ["loss/train"]}, "search names loss/train twice"),
        ({"pruner": "median", "minimize": ["parameters"]}, "parameters is known at the end; use one of accuracy/"),
        ({"pruner": "hyperband", "minimize": ["loss/train", "parameters"]}, "compares one score, but 2 are named"),
    ],
)  # fmt: skip
def test_goals_that_cannot_be_had_are_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        of(**keys)
    assert told in str(refused.value)


def test_a_regression_has_no_accuracy() -> None:
    with pytest.raises(ConfigError, match="accuracy/validation is not recorded of a regression; use loss/validation"):
        of("regression", maximize=["accuracy/validation"])


FINITE = st.floats(-1e9, 1e9)


@given(FINITE, st.sampled_from([">=", "<=", ">", "<"]), FINITE)
def test_a_constraint_is_violated_exactly_where_it_does_not_hold(value: float, sense: str, bound: float) -> None:
    constraint = Constraint.parse(f"delta_ratio {sense} {bound!r}")
    assert (constraint.violation(value) <= 0) is constraint.holds(value)
    assert (constraint.violation(bound) <= 0) is ("=" in sense)


def test_the_worst_replicate_must_hold_a_constraint() -> None:
    goals = of(constraints=["delta_ratio >= 1e-6"])
    found = goals.violations([{"delta_ratio": 1.0}, {"delta_ratio": 1e-9}])
    assert found == {"delta_ratio >= 1e-06": pytest.approx(1e-6 - 1e-9)}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_replicates_make_one_number_their_mean_or_the_worse_end_of_its_interval(values: list[float]) -> None:
    runs = [{"accuracy/validation": v, "loss/train": v} for v in values]
    keys: dict[str, Any] = {"maximize": ["accuracy/validation"], "minimize": ["loss/train"]}
    assert of(**keys).values(runs) == [mean(values).value] * 2
    low, high = of(**keys, score="bound").values(runs)
    interval = mean(values)
    assert [low, high] == ([interval.low, interval.high] if len(values) > 1 else [interval.value] * 2)


def test_scalars_are_what_the_record_says() -> None:
    (result,) = trained("model.depth=3")
    assert scalar(result, "loss/validation") == result.scores["loss/validation"]
    assert scalar(result, "parameters") == 65 * 8 + 9 * 8 + 9 * 10
    first = result.record["delta_norm"][0]
    assert scalar(result, "delta_ratio") == pytest.approx(first[0] / first[-1])
    (shallow,) = trained("model.depth=1")
    assert scalar(shallow, "delta_ratio") == 1


def test_a_run_without_numbers_says_why() -> None:
    goals = of()
    (diverged,) = trained("optimizer=gradient_descent", "optimizer.learning_rate=1e30", "seed=3")
    assert goals.reason(diverged) == f"seed 3 diverged at step {diverged.facts['diverged_at_step']}"
    (finished,) = trained()
    assert goals.reason(finished) is None
    assert math.isfinite(goals.scalars(finished)["accuracy/validation"])


def test_what_a_point_does_not_record_is_refused() -> None:
    goals = of(constraints=["delta_ratio >= 1e-6"])
    assert goals.check(composed()) == []
    (line,) = goals.check(composed("measurements=none"))
    assert "delta_ratio needs measurements.quantities to have delta_norm" in line
    (line,) = goals.check(composed("data.split.validation=0", "training.restore=final"))
    assert line.startswith("accuracy/validation needs a validation part")


def test_what_fresh_seeds_say_of_the_best_point() -> None:
    """Where they are worse that was luck; a seed that diverged has no score; parameters depend on no seed."""
    goals = of(maximize=["accuracy/validation"], minimize=["parameters"])
    (run,) = trained("model.depth=3")
    score = run.scores["accuracy/validation"]
    (lucky,) = curse(goals, [score + 0.25, 1.0], [run, run])
    assert lucky.endswith("on 2 fresh seeds, 0.25 worse: what was luck of the searched seeds")
    (unlucky,) = curse(goals, [score - 0.25, 1.0], [run, run])
    assert unlucky.endswith("on 2 fresh seeds")
    (diverged,) = trained("optimizer=gradient_descent", "optimizer.learning_rate=1e30", "seed=3")
    (partly,) = curse(goals, [score, 1.0], [run, diverged])
    assert "on 1 of 2 fresh seeds" in partly
    (none,) = curse(goals, [score, 1.0], [diverged])
    assert none == f"accuracy/validation: {score:.4g} on the searched seeds; every fresh seed diverged"
