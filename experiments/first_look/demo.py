"""Sixteen layers, three ways to begin: which of them lets the first layer hear of the error?"""

from pathlib import Path

from rich.console import Console

import mlpexp
from mlpexp.figures import compare_profiles, save
from mlpexp.score_tables import show_places, show_profiles, show_scores

POINTS = (
    ["model.activation=sigmoid", "initialisation=glorot"],
    ["model.activation=relu", "initialisation=glorot"],
    ["model.activation=relu", "initialisation=he"],
)
COMMON = ["model.depth=16", "replicates=5", "tracking.experiment=first_look"]


def main() -> None:
    configs = [mlpexp.compose([*COMMON, *point]) for point in POINTS]
    results = mlpexp.run(configs)
    picture = Path(configs[0].outputs).resolve() / "figures" / "first_look.png"
    save(compare_profiles(results), picture)
    console = Console()
    console.print("[bold]digits, 16 layers of 64 units, Adam, 20 epochs, 5 seeds each[/bold]", highlight=False)
    show_scores(results, console)
    console.print()
    show_profiles(results, console)
    console.print()
    console.print(f"picture: {picture}", style="dim", highlight=False, soft_wrap=True)
    show_places(results, configs[0], console)
    console.print("next: mlpexp train model.depth=16 model.activation=tanh", style="dim", highlight=False)


if __name__ == "__main__":
    main()
