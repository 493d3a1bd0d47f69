"""Pictures of a model's intermediate results."""
