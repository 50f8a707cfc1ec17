"""A folder or table to a checked, split dataset to pixel arrays and views."""
