"""The commands of `tune`: each parses, calls one library function, prints.

What needs TensorFlow is imported inside them, so that `tune --help` answers at once.
"""
