"""What is promised about bits, on what machine, and how to check it.

.. include:: ./reproducibility.md
"""
