"""Connectors: one package per kind of source, each behind the door ``engine.source``."""
