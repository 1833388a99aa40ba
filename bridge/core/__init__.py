"""Floor 1, the heart of a call: no clock, no socket, no task, no randomness, no environment, no secret.

Read `messages` first (the vocabulary), then `playback` (what was heard), then `call` (the switchboard).
"""
