"""The same eyes for anyone's torch module in their own loop: `mlpexp.watch`, by hooks on layers, weights and optimizer.

Flow, of a step:

    the user's forward ─► passes (outputs) ─► backward (δ, gradients) ─► gathering ─► optimizer.step: watch
        ─► buffer (raw sums, left on the device) ─► quantities (NumPy, another thread) ─► table, picture, MLflow

In the loop nothing but sums is worked out, and nothing waits for the device; what they mean is worked out behind it.
"""
