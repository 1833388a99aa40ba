"""Floor 7: the running service. Routes, gates, the calls of this process, and the carrier's REST API."""
