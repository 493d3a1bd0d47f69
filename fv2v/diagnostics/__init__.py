"""What is installed, what presets cost, and what benches measured."""
