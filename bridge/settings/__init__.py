"""Floor 6: settings from the environment and from .env, checked all at once."""
