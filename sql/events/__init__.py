"""What Trino tells of the queries that it ran, joined with what Sluice knows of them."""
