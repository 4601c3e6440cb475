-- One server, a database for each that keeps state in it: Sluice (made by the server), the Hive metastore and MLflow.
CREATE DATABASE metastore;
CREATE DATABASE mlflow;
