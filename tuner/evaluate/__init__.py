"""The winner on held-out images."""
