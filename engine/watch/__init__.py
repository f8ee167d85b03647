"""What people see: state, lag and quarantine, read from the outside.

Rule: everything here is read from Kafka, the lake and the sources, never asked of a worker, so that a dead
worker's lag grows. What cannot be read is unknown and never 0. No Spark, no JVM. ``lag`` is pure; ``lake``
and ``log`` read; ``observe`` puts them together; ``quarantine`` reads the rejected records.
"""
