"""What is installed, what the presets cost, and benchmark results."""
