"""Run a search: tuner, rung, pipeline, estimate."""
