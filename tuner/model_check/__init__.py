"""Faults of a user's own model."""
