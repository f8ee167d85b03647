"""The benchmarks: each a ratio against a peer, measured in the same run on the same work.

Rule: a ratio counts only if both sides gave the same rows (count and an order-free hash of what they
wrote, decoded); a run whose rows differ is a failure, never a slow run. ``make bench BENCH=capture``
and ``BENCH=landing`` print one line per peer; ``BENCH=memory`` prints the capture worker's peak memory.
Nothing here is imported by the engine.
"""
