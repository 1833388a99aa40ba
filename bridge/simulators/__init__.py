"""Floor 5: simulated peers over real sockets: a carrier, its phone and its REST API, and a model."""
