"""Floor 5: simulated peers over real sockets: a carrier with its telephone network, and a model.

The carrier: `rest_api` is its REST half and where a test begins; `network` is what legs share, `leg` one leg
of a call that follows documents with `verbs`; `phones` are called and `phone` calls; `rooms` and `queues`
hold legs; `placing`, `ringing` and `detecting` are a call out; `status_callbacks` tell of it; `clock` is
their time.
"""
