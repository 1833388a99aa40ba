"""Attacks on a real `phonebridge serve`, judged from outside: loudness, memory, other calls."""
