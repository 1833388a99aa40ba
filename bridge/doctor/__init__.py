"""Floor 8: checks of settings, key, address and number, from outside."""
