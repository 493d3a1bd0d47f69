"""From files to files: a module for each command, which checks all that is cheap before it loads weights."""
