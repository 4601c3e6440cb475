"""The complete example that `sluice demo` makes: a lake, its history, and people with different rights."""
