"""What the lake holds: files, tables, schemas, snapshots, registering."""
