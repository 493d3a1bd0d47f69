"""Pictures of what goes on inside a model."""
