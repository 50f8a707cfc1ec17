"""TensorBoard event files and server."""
