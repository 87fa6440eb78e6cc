"""How long training will take: a model of a step's cost, scaled by what earlier cohorts took here.

Flow: planning → **estimates** → sweep. An estimate is shown, never used: nothing that trains depends on it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from mlpexp.cohorts import work, worker_count
from mlpexp.planning import Order

FLOPS_PER_SECOND, SECONDS_PER_LAYER = 1e10, 2e-5
"""Of one process: FLOPs at matrix speed, and what each layer costs beside them."""

LATEST = 200
"""So many of the latest runs are looked at."""


def training_seconds(order: Order) -> tuple[float, int]:
    """Wall seconds that the open runs will take, and from how many recorded runs that is known (0: a guess)."""
    todo = [order.configs[i] for i in order.to_train]
    if not todo:
        return 0.0, 0
    known = [ratio for facts in _latest(order.outputs) if (ratio := _seconds_over_model(facts)) > 0]
    steps = [order.updates(config) for config in todo]
    whole = sum(
        _model_seconds(work(config, order.size(config)), config.model.depth * count)
        for config, count in zip(todo, steps, strict=True)
    )
    return whole * (median(known) if known else 1.0) / worker_count(todo[0], len(todo)), len(known)


def _model_seconds(flops: float, layer_steps: float) -> float:
    return flops / FLOPS_PER_SECOND + layer_steps * SECONDS_PER_LAYER


def _seconds_over_model(facts: dict[str, Any]) -> float:
    """What a lane of that cohort took, over what the model says; 0 where the record does not tell."""
    steps, depth = facts["last_step"], len(facts["widths"]) - 1
    if not steps or "spent" not in facts or facts["went_on_from_step"]:
        return 0.0
    return float(facts["seconds"] / facts["lanes"] / _model_seconds(facts["spent"]["flops"], depth * steps))


def _latest(outputs: Path) -> Iterable[dict[str, Any]]:
    """What the latest finished runs say of themselves."""
    files = (outputs / "runs").glob("[!.]*/result.json") if (outputs / "runs").is_dir() else ()
    dated = sorted(((file.stat().st_mtime, file) for file in files), reverse=True)[:LATEST]
    for _, file in dated:
        try:
            facts = json.loads(file.read_text())
        except ValueError:
            continue  # damaged: whoever asks for that run is told
        if facts["status"] == "finished":
            yield facts
