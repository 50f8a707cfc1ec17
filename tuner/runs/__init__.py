"""A run on disk: folder, journal, records, checkpoints, ranking, provenance."""
