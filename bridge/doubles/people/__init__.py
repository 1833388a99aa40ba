"""Who is at the far end of a call: what they hear, say and press, frame by frame, without a clock."""
