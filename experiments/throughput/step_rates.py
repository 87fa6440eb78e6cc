"""A training step against peers: ratios of run-steps a second on two cores, measured in one run.

    python experiments/throughput/step_rates.py                                  # every row: about half an hour
    python experiments/throughput/step_rates.py --widths 64 --activations tanh --rounds 1

Each rate is that of two processes at once, one on each of two cores, one thread each. A round measures everybody once,
in turn; told is the median over rounds of the ratios within a round. Writes step_rates.csv and step_rates.png beside
this file. Peers need the extra `bench`; those that are not installed are left out. JAX's compilation and all start-up
are left out.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from matplotlib.figure import Figure

from mlpexp.figures import PALETTE, save
from mlpexp.kernel.budget import flops_per_example

HERE = Path(__file__).parent
LANES = {16: 32, 64: 16, 256: 4}
"""Width → lanes in a process, for mlpexp and for JAX."""
CORES = (0, 1)
TARGETS = {  # row → floor and aim at widths 16, 64, 256
    "JAX, same quantities": ((1.0, 1.2, 1.0), (1.5, 1.5, 1.2)),
    "JAX, gradient norms": ((1.2, 1.2, 1.0), (1.7, 1.6, 1.2)),
    "plain PyTorch loop": ((10, 3, 1.3), (20, 5, 2)),
    "Lightning with MLflow": ((60, 20, 5), (100, 40, 8)),
}


def rates(words: list[str]) -> float:
    """Of two processes at once, together."""
    command = [sys.executable, *words]
    cores = sorted(os.sched_getaffinity(0))
    started = [
        subprocess.Popen(
            ["taskset", "-c", str(cores[core % len(cores)]), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=HERE,
        )
        for core in CORES
    ]
    return sum(float(json.loads(one.communicate()[0].splitlines()[-1])["rate"]) for one in started)


def round_of(width: int, activation: str, seconds: float) -> dict[str, float]:
    """Run-steps a second of everybody who is installed."""
    common = ["--width", str(width), "--activation", activation, "--seconds", str(seconds)]
    lanes = ["--lanes", str(LANES.get(width, 4))]
    own = {
        f"mlpexp, {q}": ["step_run.py", "mlpexp", *lanes, *common, "--quantities", q]
        for q in ("none", "gradient_norm", "all")
    }
    own["products alone"] = ["step_run.py", "products", *lanes, *common]
    peers = {"torch": ["step_run.py", "torch", *common]}
    if find_spec("jax"):
        peers |= {
            f"jax, {q}": ["jax_run.py", *lanes, *common, "--quantities", q] for q in ("none", "gradient_norm", "all")
        }
    if find_spec("lightning"):
        peers["lightning"] = ["step_run.py", "lightning", *common]
    found = {name: rates(words) for name, words in (own | peers).items()}
    return found | {"product": rates(["step_run.py", "product", "--seconds", str(seconds)])}


def rows_of(width: int, found: dict[str, float]) -> dict[str, float]:
    """The ratios of one round."""
    flops = 64 * flops_per_example([64, *[width] * 8, 10]) / 1e9
    rows = {"bare step": found["mlpexp, none"] / found["mlpexp, all"]}
    rows["plain PyTorch loop"] = found["mlpexp, all"] / found["torch"]
    rows["product of the machine"] = found["mlpexp, all"] * flops / found["product"]
    if "jax, all" in found:
        rows["JAX, same quantities"] = found["mlpexp, all"] / found["jax, all"]
        rows["JAX, gradient norms"] = found["mlpexp, gradient_norm"] / found["jax, gradient_norm"]
        rows["JAX, nothing logged"] = found["mlpexp, none"] / found["jax, none"]
        rows["products alone over JAX, same quantities"] = found["products alone"] / found["jax, all"]
    if "lightning" in found:
        rows["Lightning with MLflow"] = found["mlpexp, all"] / found["lightning"]
    return rows


def asked(row: str, width: int, value: float) -> str:
    """What the ratio is held against."""
    if row not in TARGETS or width not in LANES:
        return ""
    floor, aim = (each[list(LANES).index(width)] for each in TARGETS[row])
    return f"floor {floor:g}, aim {aim:g}: {'reached' if value >= aim else 'floor' if value >= floor else 'MISSED'}"


def draw(table: list[dict[str, object]]) -> Figure:
    """Run-steps a second against width, a line for each who."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    shown = {
        "mlpexp, all": "mlpexp, all quantities",
        "jax, all": "JAX, the same quantities",
        "torch": "plain PyTorch loop",
        "lightning": "Lightning with MLflow",
    }
    for (name, label), colour in zip(shown.items(), PALETTE, strict=False):
        for activation, style in (("tanh", "-"), ("relu", "--")):
            own = [one for one in table if one["name"] == name and one["activation"] == activation]
            if own:
                axes.loglog(
                    [one["width"] for one in own],
                    [one["value"] for one in own],
                    style,
                    marker="o",
                    color=colour,
                    label=label if style == "-" else None,
                )
    widths = sorted({int(str(one["width"])) for one in table})
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    axes.set_xlabel("width of 8 hidden layers (units); solid: tanh, dashed: ReLU")
    axes.set_ylabel("run-steps a second, two cores")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--activations", nargs="+", default=["tanh", "relu"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    table: list[dict[str, object]] = []
    for width in options.widths:
        for activation in options.activations:
            rounds = [round_of(width, activation, options.seconds) for _ in range(options.rounds)]
            ratios = [rows_of(width, one) for one in rounds]
            where = {"width": width, "activation": activation}
            print(f"\nwidth {width}, {activation}")
            for name in rounds[0]:
                unit = "GFLOP/s" if name == "product" else "run-steps/s"
                table.append(
                    {**where, "name": name, "value": statistics.median(one[name] for one in rounds), "unit": unit}
                )
            for row in ratios[0]:
                value = statistics.median(one[row] for one in ratios)
                table.append({**where, "name": f"ratio: {row}", "value": value, "unit": ""})
                print(f"  {row:40} {value:7.2f}  {asked(row, width, value)}", flush=True)
    with (HERE / "step_rates.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["width", "activation", "name", "value", "unit"])
        writer.writeheader()
        writer.writerows({**one, "value": f"{one['value']:.4g}"} for one in table)
    save(draw(table), HERE / "step_rates.png")


if __name__ == "__main__":
    main()
