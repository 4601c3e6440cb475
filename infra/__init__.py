"""The lowest layer: settings, errors, keys, database, events, long work."""
