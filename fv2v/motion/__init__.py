"""What drives: motion sequences, the files that hold them, edits and smoothing."""
