"""The rewriting rules: one a file, named as its function."""
