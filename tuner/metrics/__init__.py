"""Scores, intervals and significance tests on plain arrays."""
