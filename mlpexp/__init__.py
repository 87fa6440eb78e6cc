"""mlpexp."""
