"""Topic to table: the only rooms that import Spark and Delta.

A batch walks: ``dispatch`` → ``lane`` (which flow is due) → ``land`` (one batch) → ``read`` and ``decode`` →
``append`` or ``merge`` → ``quarantine`` → ``book``. Where a flow stands is asked of its own table.
"""
