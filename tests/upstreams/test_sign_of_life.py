"""A question that every server of this dialect answers: one like it was answered when the session began."""

from __future__ import annotations

import json

from bridge.core.messages import ConfigureSession, Probe, ProbeAnswered, SessionConfig, SessionUpdated
from bridge.upstreams.openai import session_tree
from bridge.upstreams.realtime import Realtime

UPDATED = json.dumps({"type": "session.updated", "session": {"type": "realtime"}})


def test_it_is_an_update_of_nothing() -> None:
    asked = json.loads(Realtime(session_tree).write(Probe()))
    assert (asked["type"], asked["session"]) == ("session.update", {"type": "realtime"})


def test_updates_are_answered_in_order_and_each_answer_is_told_for_what_it_is() -> None:
    model = Realtime(session_tree, epoch=3)
    for command in (ConfigureSession(SessionConfig()), Probe(), Probe(), ConfigureSession(SessionConfig())):
        model.write(command)
    answers = [model.parse(UPDATED) for _ in range(4)]
    assert [type(answer) for answer in answers] == [
        SessionUpdated,
        ProbeAnswered,
        ProbeAnswered,
        SessionUpdated,
    ]
    assert answers[1] == ProbeAnswered(3)


def test_a_server_that_minds_lives_as_well() -> None:
    model = Realtime(session_tree, epoch=3)
    asked = json.loads(model.write(Probe()))
    fault = {"code": "invalid_value", "message": "no", "event_id": asked["event_id"]}
    assert model.parse(json.dumps({"type": "error", "error": fault})) == ProbeAnswered(3)
    model.write(ConfigureSession(SessionConfig()))
    assert isinstance(model.parse(UPDATED), SessionUpdated)
