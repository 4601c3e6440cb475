"""Models trained on what their caller may see: recipes, the runner, MLflow."""
