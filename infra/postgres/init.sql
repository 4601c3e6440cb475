-- One server, a database for each that keeps state in it: Sluice, the Hive metastore and MLflow.
CREATE DATABASE sluice;
CREATE DATABASE metastore;
CREATE DATABASE mlflow;
