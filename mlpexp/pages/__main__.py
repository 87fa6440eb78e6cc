"""`make docs`: pages of the public names, of every module and of mlpexp.pages, by pdoc, into a folder.

Flow: docstrings, *.md → **pages** → outputs/docs. Nothing is fetched, when they are made or when they are read.
"""

import os
import sys
from pathlib import Path
from pkgutil import walk_packages

import pdoc

import mlpexp

LEFT_OUT = ("__main__", "dashboard_app")
"""Commands, and what only MLflow's server imports."""


def build(folder: Path, modules: list[str]) -> Path:
    """The pages of these modules; returns the first one."""
    for name in mlpexp.__all__:  # they are loaded when first used, and pdoc looks without using
        vars(mlpexp)[name] = getattr(mlpexp, name)
    os.environ.setdefault("PDOC_ALLOW_EXEC", "1")  # Python's platform module asks `uname`
    pdoc.pdoc(*modules, output_directory=folder)
    return folder / "index.html"


def all_modules() -> list[str]:
    """Every module by its name, but those that pdoc finds in its package: it takes what `__all__` names, else all."""
    found = ["mlpexp"]
    for one in walk_packages(mlpexp.__path__, "mlpexp."):
        package, _, name = one.name.rpartition(".")
        named = getattr(sys.modules[package], "__all__", None)
        if name not in LEFT_OUT and named is not None and name not in named:
            found.append(one.name)
    return found


if __name__ == "__main__":
    print(f"open {build(Path(sys.argv[1]), all_modules())}")
