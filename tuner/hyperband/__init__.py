"""What is trained next, and how long it takes. Nothing here trains."""
