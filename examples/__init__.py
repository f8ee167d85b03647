"""Whole small projects that run."""
