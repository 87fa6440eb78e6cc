"""`python -m mlpexp …` is `mlpexp …`."""

import sys

from mlpexp.cli import program

if __name__ == "__main__":
    sys.exit(program())
