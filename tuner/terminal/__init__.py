"""What is printed and drawn on a terminal."""
