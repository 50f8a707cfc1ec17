"""Bytes that survive crashes and other processes: atomic files, locks, the cache."""
