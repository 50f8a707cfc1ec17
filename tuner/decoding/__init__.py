"""One image file's bytes to RGB pixels, or why not."""
