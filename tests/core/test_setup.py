"""From the first ring to the greeting: who may hear whom, and from when on."""

from __future__ import annotations

from itertools import permutations
from typing import Any, get_args

import msgspec
import pytest

from bridge.core import messages as m
from bridge.core.messages import Phase

from .conftest import PROBE, LiveCall, delta, frame, new_call, only, phone, speech

STARTED = m.Started("MZ1", "CA1", "AC1")
CONFIGURED = (m.SessionCreated(), m.SessionUpdated())
UPSTREAM = get_args(m.UpstreamCommand)
APOLOGY = speech(600, "Something went wrong.", "S")


def upstream(call: LiveCall) -> list[m.Action]:
    """All that went up to the model so far."""
    return [action for _, action in call.said if isinstance(action, UPSTREAM)]


def test_a_call_rings_is_dialled_once_configured_admitted_and_begins() -> None:
    call = new_call(session=m.SessionConfig(instructions="Be brief."))
    assert call.at(0, m.Ringing()) == [m.DialUpstream(1)]
    assert call.at(300, m.SessionCreated()) == [m.ConfigureSession(call.call.config.session)]
    assert call.at(380, m.SessionUpdated()) == []
    assert call.at(900, STARTED) == []
    assert call.at(950, m.Admitted()) == [PROBE, m.CallBegan()]
    assert call.call.phase is Phase.LIVE
    stats = call.call.stats
    assert (stats.ready_ms, stats.started_ms, stats.began_ms) == (380, 900, 950)


def test_without_a_ring_the_model_is_dialled_when_the_stream_starts() -> None:
    call = new_call()
    assert call.at(0, STARTED) == [m.DialUpstream(1)]
    assert call.at(10, m.Ringing()) == []


EVENTS = (m.Ringing(), STARTED, m.SessionCreated(), m.SessionUpdated(), m.Admitted())
ORDERS = [
    order
    for order in permutations(range(5))
    if order.index(2) < order.index(3) and min(order.index(0), order.index(1)) < order.index(2)
]


def test_in_whatever_order_the_legs_come_the_call_begins_once_and_greets_once() -> None:
    for order in ORDERS:
        begins_and_greets_once(order)


def begins_and_greets_once(order: tuple[int, ...]) -> None:
    call = new_call(greeting="Hello.")
    for step, number in enumerate(order):
        actions = call.at(100 * step, EVENTS[number])
        began = step == max(order.index(3), order.index(4))
        assert (PROBE in actions) == (step == max(order.index(1), order.index(4)))
        told = [action for action in actions if action != PROBE and not isinstance(action, m.DialUpstream)]
        assert [type(action) for action in told] == (
            [m.CallBegan, m.CreateResponse] if began else [m.ConfigureSession] if number == 2 else []
        )
    assert len(only(m.DialUpstream, [action for _, action in call.said])) == 1
    for event in (m.SessionCreated(), m.SessionUpdated(), m.Admitted(), m.Ringing()):
        assert call.at(1_000, event) == []


def test_the_greeting_is_asked_for_in_the_words_of_its_configuration() -> None:
    call = new_call(greeting="Good morning!", session=m.SessionConfig(instructions="Be brief."))
    call.speaks(0, STARTED, m.Admitted(), m.SessionCreated())
    [began, greeting] = call.at(200, m.SessionUpdated())
    assert began == m.CallBegan()
    assert greeting == m.CreateResponse("greeting", 'Be brief.\n\nBegin the call now. Say: "Good morning!"')


def test_what_the_caller_said_meanwhile_goes_up_first_then_the_greeting() -> None:
    call = new_call(greeting="Hello.")
    call.speaks(0, STARTED, m.Admitted(), m.SessionCreated())
    assert call.speaks(60, *map(frame, range(3))) == []
    [_, *kept, greeting] = call.at(80, m.SessionUpdated())
    assert kept == [m.AppendAudio(f"frame {number}", 160) for number in range(3)]
    assert greeting == m.CreateResponse("greeting", 'Begin the call now. Say: "Hello."')
    assert call.at(100, frame(3)) == [m.AppendAudio("frame 3", 160)]


def test_five_seconds_of_the_caller_are_kept_and_the_oldest_go_first() -> None:
    call = new_call(session_ms=10_000, dial_total_ms=10_000)
    call.at(0, STARTED)
    for number in range(300):
        call.at(20 * number, frame(number))
    assert call.call.caller_audio.frames == 300
    [_, probe, began, *kept] = call.speaks(6_000, *CONFIGURED, m.Admitted())
    assert (probe, began) == (PROBE, m.CallBegan())
    assert kept == [m.AppendAudio(f"frame {number}", 160) for number in range(50, 300)]
    call.at(6_000, m.Stopped())
    assert call.call.stats.frames_dropped == 50


WISHES: dict[str, tuple[m.SessionCommand, m.UpstreamCommand]] = {
    "text": (m.AddText("The caller is Ada."), m.CreateItem("pb_1", "user", "The caller is Ada.")),
    "say": (m.Say("say-1", "Hi."), m.CreateResponse("say-1", 'Say exactly this and nothing else: "Hi."')),
    "respond": (m.Respond("say-1"), m.CreateResponse("say-1")),
    "vendor": (m.SendRaw('{"type":"x"}'), m.SendVendorEvent('{"type":"x"}')),
}


@pytest.mark.parametrize("wish", WISHES)
def test_before_admission_nothing_but_the_configuration_goes_up_and_wishes_wait(wish: str) -> None:
    """Never a stranger: no audio, item, response or tool before the call is proven to be the carrier's."""
    call = new_call()
    asked, command = WISHES[wish]
    call.speaks(0, m.Ringing(), STARTED, m.Interrupt(), asked, *CONFIGURED)
    call.speaks(100, frame(0), m.DigitPressed("5"), m.ItemAdded("i1", "message"), m.ResponseStarted("r0"))
    call.speaks(120, delta("i1", 200, response="r0"), m.ResponseDone("r0"))
    assert upstream(call) == [m.ConfigureSession(m.SessionConfig())]
    assert phone([action for _, action in call.said]) == []
    assert call.at(200, m.Admitted()) == [PROBE, m.CallBegan(), m.AppendAudio("frame 0", 160), command]


def test_a_change_before_there_is_a_session_is_what_it_begins_with() -> None:
    call, french = new_call(), m.SessionConfig(instructions="Speak French.")
    call.speaks(0, m.Ringing(), STARTED, m.Reconfigure(french), *CONFIGURED)
    assert upstream(call) == [m.ConfigureSession(french)]
    assert call.at(200, m.Admitted()) == [PROBE, m.CallBegan()]


def test_a_change_after_a_session_was_asked_for_follows_it() -> None:
    call, french = new_call(), m.SessionConfig(instructions="Speak French.")
    call.speaks(0, m.Ringing(), STARTED, m.SessionCreated(), m.Reconfigure(french), m.SessionUpdated())
    assert upstream(call) == [m.ConfigureSession(m.SessionConfig()), m.ConfigureSession(french, True)]


def test_a_model_that_speaks_before_admission_speaks_to_nobody() -> None:
    """It gets no answer, whatever becomes of what it says; and the call begins as if it had been silent."""
    call = new_call(greeting="Hello.")
    call.speaks(0, m.Ringing(), *CONFIGURED)
    said = (m.SpeechStarted("u1"), m.ResponseStarted("r1"), delta("A", 500))
    cancelled = m.ResponseDone("r1", "cancelled", "turn_detected")
    wanted = m.ToolCalled("r1", "f1", "call_1", "look_up", "{}")
    assert call.speaks(100, *said, wanted, cancelled, m.SpeechStarted("u2")) == []
    assert upstream(call) == [m.ConfigureSession(call.call.config.session)]
    begun = call.speaks(900, STARTED, m.Admitted())
    assert [type(action) for action in begun] == [m.SendMark, m.CallBegan, m.CreateResponse]


def test_a_configuration_in_force_before_there_is_a_session_is_nobodys() -> None:
    call = new_call()
    call.speaks(0, STARTED, m.Admitted())
    assert call.at(50, m.SessionUpdated()) == []
    assert call.at(60, m.SessionCreated()) == [m.ConfigureSession(m.SessionConfig())]


def test_a_stream_that_is_never_opened_is_given_up_after_15_s() -> None:
    call = new_call()
    call.at(0, m.Ringing())
    call.speaks(400, *CONFIGURED)
    assert call.until(14_999) == []
    assert call.until(15_000) == [m.CloseUpstream(), m.CloseCarrier(), m.Ended(m.Reason.UNCLAIMED)]
    assert call.call.deadline_ms is None


def test_a_stream_that_was_opened_is_not_unclaimed() -> None:
    call = new_call(media_gap_ms=60_000)
    call.at(0, m.Ringing())
    call.speaks(400, *CONFIGURED)
    call.speaks(14_000, STARTED, m.Admitted())
    assert call.until(30_000) == []


def test_two_deadlines_that_pass_together_end_the_call_once() -> None:
    """A process that stood still for a while finds both timers due at one wake-up."""
    call = new_call(session_ms=3_000, unclaimed_ms=3_000)
    call.at(0, m.Ringing())
    assert only(m.Ended, call.until(3_000)) == [m.Ended(m.Reason.UNCLAIMED)]


def test_formats_that_differ_end_the_call_loudly_with_the_apology() -> None:
    call = new_call(phrases={"apology": APOLOGY})
    call.speaks(0, STARTED, m.Admitted(), m.SessionCreated())
    differs = m.SessionUpdated(formats_ok=False, differences=("audio.output.format",))
    actions = call.at(100, differs)
    why = "the audio formats in force are not the phone's"
    assert only(m.Noted, actions) == [
        m.Noted("configuration differs", "audio.output.format"),
        m.Noted("the model is out", f"the model refused our configuration: {why}"),
    ]
    assert only(m.PlayAudio, actions)
    assert m.CallBegan() not in actions
    call.until(700)
    assert call.echo(800)[-1] == m.Ended(m.Reason.UPSTREAM_REFUSED, why)


def test_a_configuration_refused_by_an_error_is_a_loud_end_too() -> None:
    call = new_call()
    call.speaks(0, STARTED, m.Admitted(), m.SessionCreated())
    fault = m.UpstreamFaulted("invalid_value", "no such voice", "configure:1", "session.audio.output.voice")
    detail = "invalid_value session.audio.output.voice: no such voice"
    assert call.at(100, fault)[-1] == m.Ended(m.Reason.UPSTREAM_REFUSED, detail)


def test_a_later_configuration_that_is_refused_is_only_noted(live_call: Any) -> None:
    call = live_call()
    fault = m.UpstreamFaulted("cannot_update_voice", "voice is locked", "configure:2", "voice")
    assert call.at(100, fault) == [
        m.Noted("configuration refused", "cannot_update_voice voice voice is locked")
    ]


def test_other_differences_are_noted_once_and_the_call_goes_on() -> None:
    call = new_call()
    call.speaks(0, STARTED, m.Admitted(), m.SessionCreated())
    differs = m.SessionUpdated(differences=("speed", "voice"))
    assert call.at(100, differs) == [m.Noted("configuration differs", "speed; voice"), m.CallBegan()]
    assert call.at(200, differs) == []
    more = m.SessionUpdated(differences=("speed", "tools", "voice"))
    assert call.at(300, more) == [m.Noted("configuration differs", "tools")]


def test_a_carrier_that_sends_no_media_ends_the_call_and_one_that_does_keeps_it() -> None:
    call = new_call(media_gap_ms=5_000)
    call.speaks(0, STARTED, m.Admitted(), *CONFIGURED)
    for number in range(100):
        call.at(20 * number, frame(number))
    assert call.until(1_980 + 4_999) == []
    assert call.until(1_980 + 5_000)[-1] == m.Ended(m.Reason.NO_MEDIA)


def test_nothing_happens_in_the_millisecond_after_the_end() -> None:
    """Two timers are due at once, and the first one ends the call."""
    call = new_call(unclaimed_ms=3_000, session_ms=3_000)
    call.at(0, m.Ringing())
    call.until(10_000)
    [ended] = only(m.Ended, call.actions)
    assert ended.reason is m.Reason.UNCLAIMED
    assert call.actions[-1] == ended


# --- a field that an older deployment does not take


def refused(param: str, code: str = "unknown_parameter") -> m.UpstreamFaulted:
    return m.UpstreamFaulted(code, f"Unknown parameter: '{param}'.", "configure:1", param)


def configuring(session: m.SessionConfig) -> LiveCall:
    call = new_call(session=session)
    call.speaks(0, STARTED, m.Admitted(), m.SessionCreated())
    return call


REASONS = m.SessionConfig(instructions="Be brief.", extra={"reasoning": {"effort": "low"}, "include": ["x"]})


def test_a_field_that_is_refused_is_left_out_and_the_rest_sent_again() -> None:
    call = configuring(REASONS)
    did = call.at(100, refused("session.reasoning"))
    [noted], [again] = only(m.Noted, did), only(m.ConfigureSession, did)
    assert noted.detail.startswith("session.reasoning is left out")
    assert again.config.extra == {"include": ["x"]}
    assert again.config.instructions == "Be brief."
    assert not again.again
    assert not only(m.Ended, call.at(200, m.SessionUpdated()))


def test_it_is_left_out_once_and_what_the_call_needs_never_is() -> None:
    call = configuring(REASONS)
    call.at(100, refused("session.reasoning"))
    assert only(m.Ended, call.at(200, refused("session.reasoning")))
    for param in ("session.instructions", "session.audio.output.voice", "session.prompt", ""):
        other = configuring(msgspec.structs.replace(REASONS, extra={"prompt": {"id": "p"}}))
        assert only(m.Ended, other.at(100, refused(param)))


def test_a_later_configuration_is_sent_again_without_it(live_call: Any) -> None:
    call = live_call()
    call.at(100, m.Reconfigure(REASONS))
    [again] = only(m.ConfigureSession, call.at(200, refused("session.reasoning.effort")))
    assert (again.again, again.config.extra) == (True, {"include": ["x"]})
