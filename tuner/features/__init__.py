"""Activations at a cut, stored once, and classifiers on them."""
