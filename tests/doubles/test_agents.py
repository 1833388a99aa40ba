"""The minds: a parrot and a script; `front_desk/` has the third."""

from __future__ import annotations

from bridge.doubles.agents import Parrot, Scripted, Speech, ToolCall
from bridge.doubles.tones import marked, murmur, tone
from tests.doubles.conftest import AT_ONCE, Client, phone_client, silence

HI = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say this."}]}


def words(client: Client) -> list[str]:
    return [event["transcript"] for event in client.of("response.output_audio_transcript.done")]


def test_a_parrot_greets_and_then_repeats_each_turn(voice: bytes) -> None:
    client = phone_client(Parrot(b"\x11" * 4000, "Squawk."), **AT_ONCE)
    client.responds(instructions="Greet the caller.")
    assert client.audio("item_1") == b"\x11" * 4000
    assert words(client) == ["Squawk."]
    client.hears(silence(300) + voice + silence(600))
    assert client.audio("item_3") == silence(300) + voice + silence(500)
    other = tone(400, 700)
    client.hears(silence(300) + other + silence(600))
    assert other in client.audio("item_5")


def test_a_parrot_greets_even_who_speaks_first_with_nothing_but_words() -> None:
    client = phone_client(Parrot(), **AT_ONCE)
    client.now("conversation.item.create", item=HI)
    client.responds()
    assert client.audio("item_2") == murmur("Say this.")
    assert words(client) == ["Say this."]


def test_a_parrot_says_what_it_is_told_to_say(voice: bytes) -> None:
    client = phone_client(Parrot(), **AT_ONCE)
    client.responds()
    client.responds(instructions="Say: one moment.")
    client.hears(voice + silence(600))
    client.responds(instructions="Say: and now goodbye.")
    assert words(client)[1] == "Say: one moment."
    assert words(client)[3] == "Say: and now goodbye."


def test_a_parrot_tells_what_a_tool_found(voice: bytes) -> None:
    client = phone_client(Parrot(), **AT_ONCE)
    client.hears(voice + silence(600))
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    client.now("conversation.item.create", item=call)
    client.now(
        "conversation.item.create", item={"type": "function_call_output", "call_id": "c1", "output": "42"}
    )
    client.responds()
    assert words(client)[-1] == "42"


def test_a_parrot_greets_again_who_has_not_spoken() -> None:
    client = phone_client(Parrot(b"\x11" * 80), **AT_ONCE)
    client.responds()
    client.responds()
    assert client.audio("item_1") == client.audio("item_2")


def test_the_default_greeting_is_sound() -> None:
    greeting = Parrot().greeting
    assert isinstance(greeting.sound, bytes)
    assert 300 < len(greeting.sound) // 8 < 2000


def test_a_script_gives_one_reply_a_response() -> None:
    client = phone_client(
        Scripted([Speech(100, "One."), [Speech(100, "Two."), Speech(50, "Three.")]]), **AT_ONCE
    )
    for _ in range(3):
        client.responds()
    assert words(client) == ["One.", "Two.", "Three."]
    assert client.last("response.done")["response"]["output"] == []


def test_one_script_serves_many_sessions() -> None:
    script = Scripted([Speech(100, "One."), Speech(100, "Two.")])
    first, second = (phone_client(script, **AT_ONCE) for _ in range(2))
    first.responds()
    second.responds()
    first.responds()
    assert (words(first), words(second)) == (["One.", "Two."], ["One."])


def test_speeches_given_as_lengths_can_be_told_apart_by_counting() -> None:
    client = phone_client(Scripted([[Speech(100), Speech(b"\xaa" * 80), Speech(50)]]), **AT_ONCE)
    client.responds()
    sounds = [item.sound for item in client.server.items.values()]
    assert (
        sounds
        == [marked(1, 100), b"\xaa" * 80, marked(3, 50)]
        == [b"\x01" * 800, b"\xaa" * 80, b"\x03" * 400]
    )
    assert {marked(n, 1)[0] for n in range(1, 1000)} == set(range(0x01, 0x61))


def test_arguments_can_be_broken_json() -> None:
    client = phone_client(Scripted([ToolCall("f", '{"a": ')]), **AT_ONCE)
    client.responds()
    assert client.last("response.function_call_arguments.done")["arguments"] == '{"a": '


def test_made_up_sound_is_the_same_every_time_and_takes_the_time_it_should() -> None:
    assert murmur("Hello you") == murmur("Hello you")
    assert murmur("Hello") != murmur("Jello")
    assert len(murmur("Hello you")) == 9 * 60 * 8
    assert murmur("a b")[480:960] == b"\xff" * 480
    assert murmur("") == b""
    assert len(tone(250)) == 2000
