"""Files that others can run, and prediction from them."""
