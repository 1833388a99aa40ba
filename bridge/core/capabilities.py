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
    - `speech_events`: it tells when the caller begins and stops to speak. Else our own ear does.
    - `input_must_flow`: its time stands still without caller audio, so silence is sent where there is none.

    What we may ask of it

    - `cancels`, `truncates`, `deletes`: a response can be cancelled, an item be cut to what was heard, or be
      taken out of the conversation.
    - `commits`: caller audio can be committed as a turn, or forgotten, by us.
    - `speaks`: how it is made to speak: asked for a `response`, by an `append` to be said, or by a `text`.
    - `tags`: a response comes back with the tag that we asked for it with.
    - `roles`: of the messages that can be put into a running conversation; () for none.
    - `probes`: a question that changes nothing is always answered. Else only its sound is a sign of life.
    - `reconfigures`: what can be changed in a running session: `session` (all but voice and model), `backend`
      (what tools it has) or `nothing`.

    A session's life

    - `session_s`: after how long it ends at the latest, where it tells no `expires_at` itself. 0: not known.
    - `server_first`: its server begins, with what becomes a `SessionCreated`; else our configuration does.
    - `history`: where a new session is told what was said: `items`, one by one once it is there, `configure`,
      with its configuration, or `prompt`, in words of its instructions.
    - `history_messages`, `history_tokens`: the most that it takes of it; 0: as much as there is.

    What it tells

    - `transcripts`: the caller's words come once (`final`), as `snapshots` that replace one another, as timed
      `fragments`, or not at all (`none`).
    - `tools`: a call is a `function` of a response, comes from a `backend` that answers once all calls have
      their results, or is a `delegation`, work handed over in words.
    - `continues`: it goes on by itself after a tool's result.
    - `tells_usage`: what a response cost is told with its end.
    - `priced_by`: what its vendor bills: `tokens`, `audio_seconds` or `session_seconds`.

    On the wire

    - `audio_in`, `audio_out`: MIME types of the sound up and down, `in_hz` and `out_hz` samples a second. All
      but `audio/pcmu` at 8 kHz are transcoded by the adapter.
    - `ready`: the event that says that a configuration is in force.
    - `fatal_codes`: error codes or types after which no session would fare better, beside the common ones;
      `fatal_closes`: close codes of its sockets that mean the same.
    """

    turns: str = "vendor"
    clock: str = "burst"
    speech_events: bool = True
    input_must_flow: bool = False
    cancels: bool = True
    truncates: bool = True
    deletes: bool = True
    commits: bool = True
    speaks: str = "response"
    tags: bool = True
    roles: tuple[str, ...] = ("user", "assistant", "system")
    probes: bool = True
    reconfigures: str = "session"
    session_s: int = 3_600
    server_first: bool = True
    history: str = "items"
    history_messages: int = 0
    history_tokens: int = 0
    transcripts: str = "final"
    tools: str = "function"
    continues: bool = False
    tells_usage: bool = True
    priced_by: str = "tokens"
    audio_in: str = "audio/pcmu"
    in_hz: int = 8_000
    audio_out: str = "audio/pcmu"
    out_hz: int = 8_000
    ready: str = "session.updated"
    fatal_codes: tuple[str, ...] = ()
    fatal_closes: tuple[int, ...] = (1008, 3000, 4000)
    """OpenAI's: a policy, a refused key, a refused dialect."""

    @property
    def duplex(self) -> bool:
        """Whether the model listens and speaks at once."""
        return self.turns == "duplex"
