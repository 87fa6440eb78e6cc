"""Pages for readers: `mlpexp.pages.inside` tells how it works, `mlpexp.pages.reproducibility` what is promised.

`make docs` builds them, with the docstrings of every module, into outputs/docs.
"""
