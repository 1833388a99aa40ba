"""Calls that went wrong for others, as their bug reports tell, and how they go here."""
