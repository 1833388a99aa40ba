"""Floor 3, pure: the two far ends of a call, as machines in the core's own form (event, now_ms) -> frames.

`phone.Phone` plays the carrier and the caller behind it, `realtime.RealtimeServer` the model's endpoint, with
one of `agents` as its mind. Demo, tests, the pytest plugin and the bench all use the same two. They share no
code with the bridge's core and adapters: a double that shares a bug with what it tests can't show it.

Both work in milliseconds of one clock that never runs backwards. What is to be sent comes out as a list of
text frames, in order; `deadline_ms` says when `wake(now_ms)` must be called next, None when nothing is
awaited. `close` is None until the machine wants its socket closed, then (code, reason), where 1006 asks for a
cut without a close frame; `gone(now_ms)` tells it that the other side closed. `stalled` says that it does not
read.
"""
