"""How a command becomes a thousand trained networks, and where each part lives.

.. include:: ./inside.md
"""
