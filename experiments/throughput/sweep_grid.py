"""A grid of runs from command to complete in MLflow: how long, how much of it trains, and against Lightning.

    python experiments/throughput/sweep_grid.py                   # everything: about ten minutes on two cores
    python experiments/throughput/sweep_grid.py --without peer --without many

Prints every number beside its target and writes them to sweep_grid.csv in the outputs folder. Needs the extra `bench`.
"""

import argparse
import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Row:
    """One number, and the target that it is held against, if any."""

    quantity: str
    value: float
    unit: str
    sign: str = ""
    target: float | None = None

    def reached(self) -> bool | None:
        """None where there is no target."""
        if self.target is None:
            return None
        return self.value <= self.target if self.sign == "≤" else self.value >= self.target

    def asked(self) -> str:
        """The target as text."""
        return f"{self.sign} {self.target:g}" if self.target is not None else ""

    def line(self) -> str:
        """What is printed."""
        verdict = {None: "", True: f"   ({self.asked()}: reached)", False: f"   ({self.asked()}: MISSED)"}
        return f"{self.quantity:55} {self.value:10.4g} {self.unit:2}{verdict[self.reached()]}"


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


def training_seconds(outputs: Path) -> tuple[float, int]:
    """Seconds that workers spent in steps, measurements and evaluations, and how many cohorts that were."""
    cohorts: dict[float, float] = {}
    for file in (outputs / "runs").glob("[!.]*/result.json"):
        facts = json.loads(file.read_text())
        cohorts[facts["started"]] = max(facts["training_seconds"], cohorts.get(facts["started"], 0.0))
    return sum(cohorts.values()), len(cohorts)


def finished_in_mlflow(outputs: Path) -> int:
    """Trained runs that are complete in the store; the one that holds a sweep's pictures has no fingerprint."""
    query = (
        "SELECT count(*) FROM tags JOIN runs USING (run_uuid) WHERE key = 'mlpexp.fingerprint' AND status = 'FINISHED'"
    )
    with sqlite3.connect(outputs / "mlflow.db") as connection:
        return int(connection.execute(query).fetchone()[0])


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
    times = []
    for points in ("depth=4 epochs=1", SAMPLE):  # the first one is start-up, and the making of the database
        start = time.time()
        quietly([*words, *points.split()])
        times.append(time.time() - start)
    start_up = [sys.executable, str(HERE / "lightning_run.py"), "--cfg", "job"]
    begun = time.time()
    quietly(start_up)
    return (times[1] - (time.time() - begun)) / 8


def quietly(words: list[str]) -> None:
    """A command to its end, without a word; raises CalledProcessError where it fails."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def grid(outputs: Path) -> list[Row]:
    """The grid of the issue: how long, what share of the workers' time is not training, and asked again."""
    words = [*(f"{key}={value}" for key, value in GRID.items()), *COMMON]
    first = measured_sweep(words, outputs, runs=1000)
    trained, cohorts = training_seconds(outputs)
    workers = min(psutil.cpu_count() or 1, cohorts)
    again = sweep(words, outputs)
    return [
        Row("grid of 1 000 runs, command to complete in MLflow", first["seconds"], "s"),
        Row(
            "share of the workers' time outside training steps", 1 - trained / workers / first["seconds"], "", "≤", 0.25
        ),
        Row("the same command again, everything recorded", again["seconds"], "s", "≤", 10),
    ]


def peer(outputs: Path, grid_seconds: float) -> list[Row]:
    """Hydra's basic launcher, Lightning and MLFlowLogger on eight runs of the grid."""
    rows = []
    for log_every, target in ((1, 30), (10, None)):
        each = lightning_seconds_per_run(outputs, log_every)
        name = "every step" if log_every == 1 else f"every {log_every} steps"
        rows.append(Row(f"Lightning, a run, logging {name}", each, "s"))
        rows.append(Row(f"Lightning over mlpexp, logging {name}", each * 1000 / grid_seconds, "×", "≥", target))
    return rows


def many(outputs: Path) -> list[Row]:
    """Ten thousand tiny runs: the driver's memory must not grow with them."""
    rates = ",".join(f"{0.001 * (i + 1):g}" for i in range(500))
    words = [*SMALL, f"optimizer.learning_rate={rates}"]
    found = measured_sweep(words, outputs, runs=10_000)
    first, second = found["driver_mb_first_half"], found["driver_mb_second_half"]
    return [
        Row("10 000 tiny runs, command to complete in MLflow", found["seconds"], "s"),
        Row("the driver's memory, most in the first half", first, "MB"),
        Row("the driver's memory, most in the second half", second, "MB"),
        Row("second half over first half", second / first, "", "≤", 1.2),
        Row("the same command again", sweep(words, outputs)["seconds"], "s"),
    ]


def measured_sweep(words: list[str], outputs: Path, runs: int) -> dict[str, float]:
    """A sweep into an empty folder, after which every run is complete in MLflow."""
    shutil.rmtree(outputs, ignore_errors=True)
    outputs.mkdir(parents=True)
    found = sweep(words, outputs)
    complete = finished_in_mlflow(outputs)
    assert complete == runs, f"{complete} of {runs} runs are in MLflow"
    return found


def main() -> None:
    """Measure, print, and write sweep_grid.csv; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/throughput"))
    parser.add_argument("--without", choices=("peer", "many"), action="append", default=[])
    options = parser.parse_args()
    outputs: Path = options.outputs.absolute()
    busy = os.getloadavg()[0]
    rows = [Row("other processes' load when it began", busy, ""), *grid(outputs / "grid")]
    if "peer" not in options.without:
        rows += peer(outputs / "grid", rows[1].value)
    if "many" not in options.without:
        rows += many(outputs / "many")
    with open(outputs / "sweep_grid.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["quantity", "value", "unit", "target", "reached"])
        for row in rows:
            print(row.line())
            writer.writerow([row.quantity, f"{row.value:.4g}", row.unit, row.asked(), row.reached()])
    sys.exit(any(row.reached() is False for row in rows))


if __name__ == "__main__":
    main()
