"""Experiments on stuck accuracy."""
