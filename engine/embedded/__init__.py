"""The one-machine stack: Kafka, a schema registry and PostgreSQL as child processes, without root or Docker.

Rule: real components, bounded in memory, on loopback only; everything they write lies in one state folder,
everything they are made of in one cache folder. This room does not print, and knows no flow.
"""
