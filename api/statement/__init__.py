"""Trino's client protocol, spoken by us: what the Trino CLI, JDBC, SQLAlchemy, dbt and Superset connect to."""
