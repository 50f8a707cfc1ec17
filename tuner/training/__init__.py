"""One trial's epochs, and its network rebuilt."""
