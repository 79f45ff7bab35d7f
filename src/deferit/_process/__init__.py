"""What one process owns: it performs what flows yield, and runs jobs; begin with `engine`."""
