"""Foreign model files: vetted for code, then run in a limited process."""
