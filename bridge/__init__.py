"""A phone call on one side, a realtime speech model on the other: carries the sound, knows what was heard."""
