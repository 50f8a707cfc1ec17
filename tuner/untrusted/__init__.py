"""Model files from elsewhere: inspected before they are opened."""
