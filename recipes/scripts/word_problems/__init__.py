"""Word problems with worked answers."""
