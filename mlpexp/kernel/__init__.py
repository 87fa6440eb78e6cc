"""Networks, backpropagation, optimizers and measurements for R networks side by side: torch and plain arguments."""
