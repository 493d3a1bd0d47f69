"""One file an operator: its specification, from formula to kernel table."""
