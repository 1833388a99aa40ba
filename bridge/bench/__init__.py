"""The bench: what a Media Streams server is like, ours or another's, seen from both its ends.

Our phone calls it, and our scripted model answers behind it: so both the truth (what the phone played) and
the claim (what the model was told of it) are known, whatever the server is made of.
"""
