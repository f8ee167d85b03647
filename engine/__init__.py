"""Écluse: a lock between streams and a lake.

A row walks one way, through named doors, and nothing on the way looks back:
template → plan → source → envelope → topic → dispatch → decode → table → ledger.
"""
