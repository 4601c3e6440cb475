"""One resource a file: its schemas and its handlers."""
