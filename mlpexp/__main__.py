"""`python -m mlpexp …` is `mlpexp …`."""

import sys

from mlpexp.cli import main

if __name__ == "__main__":
    sys.exit(main())
