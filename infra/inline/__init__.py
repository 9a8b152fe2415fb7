"""Sources of functions that travel inside a template. They are read as text."""
