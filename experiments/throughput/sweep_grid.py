"""A grid of runs from command to complete in MLflow: how long, how much of it trains, and against Lightning.

    python experiments/throughput/sweep_grid.py                 # 1 000 runs, asked again, a sample of the peer's
    python experiments/throughput/sweep_grid.py --runs 10000    # memory of the driver; no peer

Writes sweep_grid.json into the outputs folder. Needs the extra `bench`.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil

HERE = Path(__file__).parent
GRID = {
    "model.depth": "range(1,11)",
    "model.activation": "identity,sigmoid,tanh,relu,leaky_relu",
    "optimizer.learning_rate": "1e-4,1e-3,1e-2,1e-1",
}
COMMON = ("model.width=32", "training.epochs=20", "replicates=5")
SMALL = ("model.depth=2,3", "model.activation=tanh,relu", "model.width=8", "training.epochs=1", "replicates=5")
SAMPLE = "depth=1,4,7,10 activation=tanh,relu learning_rate=1e-3 seed=0"


def sweep(words: list[str], outputs: Path) -> dict[str, float]:
    """Run `mlpexp sweep`; wall seconds, core seconds of all its processes, and the driver's memory in MB."""
    before = os.times()
    start = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlpexp", "sweep", *words, f"outputs={outputs}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    driver, memory = psutil.Process(process.pid), []
    while process.poll() is None:
        try:
            memory.append(driver.memory_info().rss / 1e6)
        except psutil.Error:
            break
        time.sleep(0.2)
    after = os.times()
    assert process.wait() == 0, f"the sweep failed: {process.returncode}"
    half = len(memory) // 2
    return {
        "seconds": time.time() - start,
        "core_seconds": after.children_user + after.children_system - before.children_user - before.children_system,
        "driver_mb_first_half": max(memory[:half]),
        "driver_mb_second_half": max(memory[half:]),
    }


def spans(outputs: Path) -> list[tuple[float, float]]:
    """When each cohort trained: start and end, as the run folders tell it."""
    found = {}
    for file in (outputs / "runs").glob("[!.]*/result.json"):
        facts = json.loads(file.read_text())
        found[facts["started"]] = facts["started"] + facts["training_seconds"]
    return sorted(found.items())


def covered(intervals: list[tuple[float, float]]) -> float:
    """Seconds during which at least one cohort trained."""
    total, reached = 0.0, 0.0
    for start, end in intervals:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def finished_in_mlflow(outputs: Path) -> int:
    """Runs that are complete in the store."""
    with sqlite3.connect(outputs / "mlflow.db") as connection:
        return int(connection.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()[0])


def lightning_seconds_per_run(folder: Path, log_every: int) -> float:
    """Hydra's basic launcher, Lightning and MLFlowLogger on a sample of the grid: seconds a run, start-up left out."""
    words = [
        sys.executable,
        str(HERE / "lightning_run.py"),
        "-m",
        f"store={folder}/lightning.db",
        f"hydra.sweep.dir={folder}/h",
    ]
    words.append(f"log_every={log_every}")
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    times = []
    for points in ("depth=4 epochs=1", SAMPLE):  # the first one is start-up, and the making of the database
        start = time.time()
        subprocess.run([*words, *points.split()], env=environment, check=True, **quiet)  # type: ignore[call-overload]
        times.append(time.time() - start)
    start_up = [sys.executable, str(HERE / "lightning_run.py"), "--cfg", "job"]
    begun = time.time()
    subprocess.run(start_up, env=environment, check=True, **quiet)  # type: ignore[call-overload]
    return (times[1] - (time.time() - begun)) / 8


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/throughput/sweep_grid"))
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    outputs = options.outputs.absolute()
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir(parents=True)
    if options.runs == 1000:
        words = [*(f"{key}={value}" for key, value in GRID.items()), *COMMON]
    else:
        rates = ",".join(f"{0.001 * (i + 1):g}" for i in range(options.runs // 20))
        words = [*SMALL, f"optimizer.learning_rate={rates}"]
    found: dict[str, float] = sweep(words, outputs)
    found["runs"] = finished_in_mlflow(outputs)
    assert found["runs"] == options.runs, f"{found['runs']:.0f} of {options.runs} runs are in MLflow"
    intervals = spans(outputs)
    workers = min(psutil.cpu_count() or 1, len(intervals))
    found["outside_share_of_wall"] = 1 - covered(intervals) / found["seconds"]
    found["outside_share_of_workers"] = 1 - sum(b - a for a, b in intervals) / workers / found["seconds"]
    found["again_seconds"] = sweep(words, outputs)["seconds"]
    if options.runs == 1000 and not options.no_peer:
        for log_every in (1, 10):
            each = lightning_seconds_per_run(outputs, log_every)
            found[f"lightning_seconds_per_run_every_{log_every}"] = each
            found[f"ratio_to_lightning_every_{log_every}"] = each * options.runs / found["seconds"]
    for name, value in found.items():
        print(f"{name:28} {value:10.4g}")
    (outputs / "sweep_grid.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
