"""Hydra's way to mlpexp: imported at each start of any Hydra application, so all that is heavy waits in functions."""
