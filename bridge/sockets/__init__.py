"""Floor 4: websockets on the loop. Frames, streams, dialling, keepalive, uvicorn's hand-over."""
