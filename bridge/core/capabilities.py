"""What a model's session can do: what the core asks before it does anything that only some vendors can.

One record a vendor, in `bridge/upstreams`. It stands in the configuration of a call and so in the header of
its recording: a replay needs no table. The defaults are OpenAI Realtime's, which is what recordings from
before this record are of, so they never change.
"""

from __future__ import annotations

import msgspec


class Capabilities(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What one upstream's sessions can do and how they tell it.

    Turns and speech

    - `turns`: `vendor`: voice detection ends turns, and responses have ids, a beginning and an end. `duplex`:
      the model listens and speaks at once; there are no responses.
    - `clock`: `burst`: sound comes faster than it plays, and caller audio may be sent so. `realtime`: one
      stream at the pace of the clock, silence included, both ways.
    - `input_must_flow`: its time stands still without caller audio, so silence is sent where there is none.

    What we may ask of it

    - `cancels`, `truncates`, `deletes`: a response can be cancelled, an item be cut to what was heard, or be
      taken out of the conversation.
    - `speaks`: how it is made to speak: asked for a `response`, or by an `append` to be said.
    - `tags`: a response comes back with the tag that we asked for it with.
    - `probes`: a question that changes nothing is always answered. Else only its sound is a sign of life.
    - `reconfigures`: what can be changed in a running session: `session` (all but voice and model), `backend`
      (what tools it has) or `nothing`.

    A session's life

    - `session_s`: after how long it ends at the latest, where it tells no `expires_at` itself. 0: not known.
    - `server_first`: its server begins, with what becomes a `SessionCreated`; else our configuration does.
    - `history`: where a new session is told what was said: `items`, one by one once it is there, or
      `configure`, with its configuration.
    - `tools`: a call is a `function` of a response, or comes from a `backend` that answers once all calls
      have their results.
    - `priced_by`: what its vendor bills: `tokens`, told with the end of a response, or `session_seconds`,
      told with the end of the session.
    - `fatal_codes`: error codes or types after which no session would fare better, beside the common ones;
      `fatal_closes`: close codes of its sockets that mean the same.
    """

    turns: str = "vendor"
    clock: str = "burst"
    input_must_flow: bool = False
    cancels: bool = True
    truncates: bool = True
    deletes: bool = True
    speaks: str = "response"
    tags: bool = True
    probes: bool = True
    reconfigures: str = "session"
    session_s: int = 3_600
    server_first: bool = True
    history: str = "items"
    tools: str = "function"
    priced_by: str = "tokens"
    fatal_codes: tuple[str, ...] = ()
    fatal_closes: tuple[int, ...] = (1008, 3000, 4000)
    """OpenAI's: a policy, a refused key, a refused dialect."""

    @property
    def duplex(self) -> bool:
        """Whether the model listens and speaks at once."""
        return self.turns == "duplex"
