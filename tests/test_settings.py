"""Settings: every mistake at once, each with its cure; and what a real number may never be pointed at."""

from __future__ import annotations

import base64
import os
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge import sounds
from bridge.core.messages import Sound
from bridge.errors import ConfigError
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import Settings, load_settings
from bridge.settings.targets import Target

TOKEN = "0123456789abcdef0123456789abcdef"
KEY = "sk-test-0123456789"
REAL = {"twilio_auth_token": TOKEN, "public_url": "https://voice.example.com", "openai_api_key": KEY}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("BRIDGE_", "TWILIO_", "OPENAI_")) or name in ("PORT", "HOST", "PUBLIC_URL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def real(**overrides: Any) -> Settings:
    return load_settings(**{**REAL, **overrides})


def mistakes(**overrides: Any) -> dict[str, str]:
    """The names and what is wrong with them, of settings that are a real number's but for these."""
    with pytest.raises(WrongSettings) as caught:
        real(**overrides)
    return {mistake.name: mistake.what for mistake in caught.value.mistakes}


# -- where they come from


def test_the_defaults_are_those_of_the_table() -> None:
    settings = real()
    assert (settings.port, settings.host) == (5050, "0.0.0.0")
    assert (settings.upstream, settings.model, settings.voice) == ("openai", "gpt-realtime-2.1", "marin")
    assert (settings.max_calls, settings.max_call_seconds, settings.drain_seconds) == (200, 3600, 25)
    assert (settings.recordings, settings.record_audio, settings.recording_days) == (None, False, 30)
    assert (settings.disclosure, settings.consent, settings.transfers) == (True, None, {})
    assert (settings.max_call_cost, settings.max_day_cost, settings.agent) == (None, None, None)
    assert settings.remarks == ()


def test_each_is_read_as_text_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.setenv(str(field.validation_alias), "a:b,c")
    with pytest.raises(WrongSettings):  # not a complaint that the text is no JSON
        load_settings(env_file=None)


def test_they_come_from_the_environment_before_env_and_an_override_goes_before_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        f"TWILIO_AUTH_TOKEN={TOKEN}\nPUBLIC_URL=https://file.example.com\nOPENAI_API_KEY={KEY}\nPORT=1\n"
        "BRIDGE_VOICE='cedar'\nSOMEBODY_ELSES=1\n"
    )
    monkeypatch.setenv("PUBLIC_URL", "https://voice.example.com/")
    monkeypatch.setenv("PORT", "2")
    settings = load_settings(port=3)
    assert (settings.port, settings.voice) == (3, "cedar")
    assert settings.public_url == "https://voice.example.com"
    assert load_settings(PORT=4).port == 4
    assert load_settings().port == 2


def test_a_variable_of_another_program_is_no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A desktop has LANGUAGE=de:en, and INSECURE=1 of another program must not let strangers in."""
    names = [(name, str(field.validation_alias)) for name, field in Settings.model_fields.items()]
    others = [name.upper() for name, alias in names if name.upper() != alias]
    assert {"LANGUAGE", "MODEL", "INSECURE"} <= set(others)
    before = real()
    for name in others:
        monkeypatch.setenv(name, "1")
    (tmp_path / ".env").write_text("".join(f"{name}=1\n" for name in others))
    assert real().model_dump() == before.model_dump()


def test_the_file_env_can_be_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\n")
    assert real(env_file=None).port == 5050


def test_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_MAX_CALLS", "")
    monkeypatch.setenv("BRIDGE_TRANSFERS", "")
    assert real().max_calls == 200


def test_an_argument_that_is_no_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="no setting 'prot'"):
        load_settings(prot=1)


def test_a_name_that_is_almost_one_of_ours_is_remarked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BRIDGE_MAX_CALL", "3")
    (tmp_path / ".env").write_text("BRIDGE_UNHEARD_OF=1\n")
    assert real().remarks == (
        "BRIDGE_MAX_CALL is not a setting; is it BRIDGE_MAX_CALLS?",
        "BRIDGE_UNHEARD_OF is not a setting",
    )


# -- all mistakes at once


def test_every_mistake_is_listed_at_once_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "phone")
    monkeypatch.setenv("BRIDGE_MAX_CALLS", "0")
    monkeypatch.setenv("BRIDGE_RECORD_AUDIO", "maybe")
    monkeypatch.setenv("BRIDGE_DTMF", "shout")
    monkeypatch.setenv("BRIDGE_MAX_DAY_COST", "nan")
    monkeypatch.setenv("BRIDGE_LANGUAGE", "English")
    monkeypatch.setenv("BRIDGE_FALLBACK", "office")
    monkeypatch.setenv("BRIDGE_AGENT", "agent.py")
    monkeypatch.setenv("BRIDGE_UPSTREAM", "pigeon")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    assert lines[0] == "11 settings are wrong:"
    assert sorted(line.split()[0] for line in lines[1:]) == [
        "BRIDGE_AGENT",
        "BRIDGE_DTMF",
        "BRIDGE_FALLBACK",
        "BRIDGE_LANGUAGE",
        "BRIDGE_MAX_CALLS",
        "BRIDGE_MAX_DAY_COST",
        "BRIDGE_RECORD_AUDIO",
        "BRIDGE_UPSTREAM",
        "PORT",
        "PUBLIC_URL",
        "TWILIO_AUTH_TOKEN",
    ]
    assert all(": " in line for line in lines[1:])


def test_what_only_follows_from_another_mistake_is_not_listed() -> None:
    assert set(mistakes(transfers="office=12", fallback="office")) == {"BRIDGE_TRANSFERS"}
    assert set(mistakes(insecure="perhaps", twilio_auth_token=None)) == {"BRIDGE_INSECURE"}


def test_no_secret_and_no_number_stands_in_the_message_or_in_repr() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(
            twilio_auth_token=f"{TOKEN},{KEY},third",
            openai_api_key=f"'{KEY}'",
            transfers="office=+9991234567890123,home=+15550001111",
            shared_keys=f"{TOKEN}",
            public_url="https://me:hunter2@voice.example.com",
        )
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    told = repr(real(transfers="office=+15550001111", shared_keys=f"one={KEY}")) + str(caught.value)
    for hidden in (TOKEN, KEY, "third", "5550001111", "9991234567", "hunter2"):
        assert hidden not in told


# -- the gates


def test_without_a_token_nothing_starts_but_an_insecure_bridge_on_loopback() -> None:
    assert mistakes(twilio_auth_token=None) == {"TWILIO_AUTH_TOKEN": "is not set, so anybody could call"}
    settings = load_settings(insecure=True)
    assert (settings.host, settings.upstream, settings.public_url) == ("127.0.0.1", "embedded", None)
    assert "this machine only" in settings.remarks[0]


@pytest.mark.parametrize(
    ("host", "bound"), [("0.0.0.0", "127.0.0.1"), ("10.0.0.1", "127.0.0.1"), ("::1", "::1")]
)
def test_an_insecure_bridge_listens_on_loopback_whatever_is_asked(host: str, bound: str) -> None:
    assert load_settings(insecure=True, host=host).host == bound


def test_an_insecure_bridge_makes_no_url_from_public_url() -> None:
    settings = real(insecure=True)
    assert settings.public_url is None
    assert "BRIDGE_INSECURE is on: PUBLIC_URL is not used" in settings.remarks


def test_a_token_without_public_url_is_refused() -> None:
    assert mistakes(public_url=None) == {"PUBLIC_URL": "is not set, and signatures are made over it"}


def test_two_tokens_while_they_are_rotated() -> None:
    settings = real(twilio_auth_token=f" {TOKEN} , newer ")
    assert [token.get_secret_value() for token in settings.twilio_auth_token] == [TOKEN, "newer"]
    assert [token.get_secret_value() for token in real(twilio_auth_token=f"{TOKEN},").twilio_auth_token] == [
        TOKEN
    ]
    assert mistakes(twilio_auth_token="one,two,three") == {"TWILIO_AUTH_TOKEN": "holds 3 tokens"}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("AC" + "0" * 32, "is an account SID"),
        ("SK" + "0" * 32, "is an API key, which never signs a webhook"),
        (f'"{TOKEN}"', "begins with a quotation mark"),
        ("two words", "holds a space or a character that no key has"),
        ("tökén", "holds a space or a character that no key has"),
        (" , ", "is not set, so anybody could call"),
    ],
)
def test_what_is_no_auth_token_says_what_it_is(given: str, what: str) -> None:
    assert mistakes(twilio_auth_token=given) == {"TWILIO_AUTH_TOKEN": what}


def test_an_account_sid_is_one() -> None:
    assert real(twilio_account_sid="AC" + "0a" * 16).twilio_account_sid == "AC" + "0a" * 16
    assert mistakes(twilio_account_sid="SK" + "0a" * 16) == {"TWILIO_ACCOUNT_SID": "is not an account SID"}


def test_the_key_of_the_stream_tokens_follows_the_auth_token_and_is_not_it() -> None:
    (old,) = real().stream_token_secret()
    assert (old,) == real().stream_token_secret()
    assert TOKEN.encode() not in old
    assert len(old) == 32
    # While rotating, tokens signed with either are good, and the first one signs.
    assert real(twilio_auth_token=f"{TOKEN},newer").stream_token_secret() == (
        *real(twilio_auth_token="newer").stream_token_secret(),
        old,
    )


def test_without_an_auth_token_the_key_dies_with_the_settings() -> None:
    settings = load_settings(insecure=True)
    assert settings.stream_token_secret() == settings.stream_token_secret()
    assert settings.stream_token_secret() != load_settings(insecure=True).stream_token_secret()


def test_shared_keys() -> None:
    found = real(shared_keys="key_1=c2VjcmV0PQ==, key_2:hmac_sha256=other").shared_keys
    assert {name: (key.secret.get_secret_value(), key.algorithm) for name, key in found.items()} == {
        "key_1": ("c2VjcmV0PQ==", None),
        "key_2": ("other", "HMAC_SHA256"),
    }
    assert "BRIDGE_SHARED_KEYS" in mistakes(shared_keys="secret")
    assert "BRIDGE_SHARED_KEYS" in mistakes(shared_keys="key_1:MD5=secret")


# -- PUBLIC_URL: whatever could be written in two ways breaks a signature


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://voice.example.com", "https://voice.example.com"),
        ("https://voice.example.com/", "https://voice.example.com"),
        (" https://Voice.Example.COM:443/ ", "https://voice.example.com"),
        ("https://voice.example.com/phone/", "https://voice.example.com/phone"),
        ("https://9.9.9.9", "https://9.9.9.9"),
        ("http://127.0.0.1:5050", "http://127.0.0.1:5050"),
        ("http://localhost:80/", "http://localhost"),
        ("http://[::1]:5050", "http://[::1]:5050"),
        ("https://localhost:8443", "https://localhost:8443"),
    ],
)
def test_public_url_is_written_as_the_carrier_signs_it(given: str, base: str) -> None:
    assert real(public_url=given).public_url == base


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("voice.example.com", "does not begin with https://"),
        ("wss://voice.example.com", "does not begin with https://"),
        ("http://voice.example.com", "begins with http://"),
        ("http://127.0.0.1@voice.example.com", "begins with http://"),
        ("https://voice.example.com:8443", "has a port"),
        ("https://voice.example.com:80", "has a port"),
        ("https://voice.example.com:port", "is no URL"),
        ("https://", "has no host"),
        ("https://me:secret@voice.example.com", "has a user name or password"),
        ("https://voice.example.com?a=1", "has a query or a fragment"),
        ("https://voice.example.com/#rc=2", "has a query or a fragment"),
        ("https://voice.example.com/incoming-call", "ends with /incoming-call"),
        ("https://voice.example.com/phone/media-stream/", "ends with /media-stream"),
        ("https://voice.example.com//phone", "has a path that could be written in two ways"),
        ("https://voice.example.com/a/../b", "has a path that could be written in two ways"),
        ("https://voice.example.com/ph%6Fne", "has a path that could be written in two ways"),
        ("https://voice_1.example.com", "has an underscore in its host name"),
        ("https://vöice.example.com", "has no host name that Twilio could ask for"),
        ("https://voice.example.com.", "has no host name that Twilio could ask for"),
        ("https://voice example.com", "has no host name that Twilio could ask for"),
        ("https://bridge", "names a host of a private network"),
        ("https://192.168.1.7", "names a host of a private network"),
        ("https://0.0.0.0", "names a host of a private network"),
        ("https://[fe80::1]", "names a host of a private network"),
    ],
)
def test_public_url_that_would_break_a_call_is_refused(given: str, what: str) -> None:
    assert mistakes(public_url=given) == {"PUBLIC_URL": what}


# -- who answers


def test_a_real_number_never_gets_a_rehearsal_by_accident() -> None:
    assert mistakes(openai_api_key=None) == {"OPENAI_API_KEY": "is not set, so no call could be answered"}
    assert mistakes(openai_api_key=None, upstream="openai") == mistakes(openai_api_key=None)


@pytest.mark.parametrize("rehearsal", ["embedded", "parrot"])
def test_a_rehearsal_has_to_be_asked_for_where_real_calls_come_in(rehearsal: str) -> None:
    settings = real(openai_api_key=None, upstream=rehearsal)
    assert settings.upstream == rehearsal
    assert settings.remarks == (
        f"BRIDGE_UPSTREAM is {rehearsal}: real callers get a rehearsal, and no model",
    )


def test_the_demo_needs_no_key_and_nothing_in_the_environment_makes_a_demo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert real(openai_api_key=None, demo=True).upstream == "embedded"
    assert real(openai_api_key=None, demo=True).remarks == ()
    for name in ("DEMO", "demo", "BRIDGE_DEMO"):
        monkeypatch.setenv(name, "1")
    assert mistakes(openai_api_key=None) == {"OPENAI_API_KEY": "is not set, so no call could be answered"}


def test_an_insecure_bridge_uses_a_key_only_when_told_to_and_says_so() -> None:
    """A key in the environment is no wish to pay for calls that need not prove anything."""
    assert load_settings(insecure=True).upstream == "embedded"
    assert not [remark for remark in load_settings(insecure=True).remarks if "a script answers" in remark]
    settings = load_settings(insecure=True, openai_api_key=KEY)
    assert settings.upstream == "embedded"
    [remark] = [remark for remark in settings.remarks if "a script answers" in remark]
    assert "BRIDGE_UPSTREAM=openai" in remark
    told = load_settings(insecure=True, openai_api_key=KEY, upstream="openai")
    assert told.upstream == "openai"
    assert not [remark for remark in told.remarks if "a script answers" in remark]


def test_an_upstream_that_is_unknown_is_refused() -> None:
    assert mistakes(upstream="pigeon") == {"BRIDGE_UPSTREAM": "is unknown"}


def test_a_model_of_ones_own_on_this_machine_needs_no_key() -> None:
    url = "ws://127.0.0.1:9000/v1/realtime"
    assert real(openai_api_key=None, upstream="openai", upstream_url=url).upstream_url == url
    assert "OPENAI_API_KEY" in mistakes(openai_api_key=None, upstream_url=url)
    assert "OPENAI_API_KEY" in mistakes(
        openai_api_key=None, upstream="openai", upstream_url="wss://models.example.com"
    )


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("https://api.example.com/v1/realtime", "does not begin with wss://"),
        ("ws://api.example.com/v1/realtime", "begins with ws://"),
        ("ws://localhost@api.example.com", "begins with ws://"),
        ("ws://127.0.0.1.example.com", "begins with ws://"),
        ("wss://me:pw@api.example.com", "has a user name or password"),
        ("wss://", "has no host"),
    ],
)
def test_voices_go_unencrypted_to_this_machine_only(given: str, what: str) -> None:
    assert mistakes(upstream_url=given) == {"BRIDGE_UPSTREAM_URL": what}


@pytest.mark.parametrize(
    "given", ["ws://127.0.0.1:1/x?model=m", "ws://localhost", "ws://[::1]:1", "wss://a.example"]
)
def test_an_upstream_url(given: str) -> None:
    assert real(upstream_url=given).upstream_url == given


def test_tokens_go_unencrypted_to_this_machine_only() -> None:
    assert real(twilio_api_url="http://127.0.0.1:5051/").twilio_api_url == "http://127.0.0.1:5051"
    assert real(twilio_api_url="https://api.example.com").twilio_api_url == "https://api.example.com"
    assert mistakes(twilio_api_url="http://api.twilio.com") == {
        "BRIDGE_TWILIO_API_URL": "begins with http://"
    }
    assert mistakes(twilio_api_url="api.twilio.com") == {
        "BRIDGE_TWILIO_API_URL": "does not begin with https://"
    }


def test_simulated_calls_never_reach_the_vendor_s_api() -> None:
    assert real().rest_url == "https://api.twilio.com"
    assert real(public_url="http://127.0.0.1:1").rest_url is None
    assert real(demo=True).rest_url is None
    assert real(insecure=True).rest_url is None
    ours = "http://127.0.0.1:5051"
    assert real(public_url="http://127.0.0.1:1", twilio_api_url=ours).rest_url == ours


# -- where a call can be sent


def test_targets_by_name() -> None:
    settings = real(transfers="front desk = +1 (555) 000-1111 ,billing=+442071838750", fallback="front desk")
    assert settings.transfers == {"front desk": "+15550001111", "billing": "+442071838750"}
    assert settings.fallback == "front desk"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("office=5550001111", "the number of 'office' is not E.164"),
        ("office=+1555000111", "the number of 'office' is not E.164"),
        ("office=+1911", "the number of 'office' is not E.164"),
        ("office=+0555000111", "the number of 'office' is not E.164"),
        ("office=+15550001111;ext=", "the extension of 'office' is not made of keys"),
        ("office=+15550001111;ext=12 3", "the extension of 'office' is not made of keys"),
        ("office=+15550001111;ext=" + "1" * 33, "the extension of 'office' is not made of keys"),
        ("office=+19005550111;ext=2", "the number of 'office' is a premium number"),
        ("office=sip:desk", "the address of 'office' is no SIP address"),
        ("office=sip:desk:word@example.com", "the address of 'office' is no SIP address"),
        ("office=sip:desk@example.com?X-Evil=1", "the address of 'office' is no SIP address"),
        ("office=sip:desk@example.com;a=<b>", "the address of 'office' is no SIP address"),
        ("office=client:desk", "the number of 'office' is not E.164"),
        ("office=+1\N{ARABIC-INDIC DIGIT FIVE}550001111", "the number of 'office' is not E.164"),
        ("office=+19005550111", "the number of 'office' is a premium number"),
        ("office=+12129765555", "the number of 'office' is a premium number"),
        ("office=+449098790000", "the number of 'office' is a premium number"),
        ("office=+4990012345678", "the number of 'office' is a premium number"),
        ("office=+979123456789", "the number of 'office' is a premium number"),
        ("office=+881612345678", "the number of 'office' is a satellite number"),
        ("office=+870773912345", "the number of 'office' is a satellite number"),
        ("office", "holds a piece that is not name=number"),
        ("=+15550001111", "holds a name that is no name"),
        ("off<ice=+15550001111", "holds a name that is no name"),
        ("a=+15550001111,a=+15550001112", "names 'a' twice"),
    ],
)
def test_a_target_that_calls_may_not_be_sent_to(given: str, what: str) -> None:
    assert mistakes(transfers=given) == {"BRIDGE_TRANSFERS": what}


def test_a_target_may_be_a_number_with_an_extension_or_a_sip_address() -> None:
    settings = real(
        transfers="desk=+1 555 000 1111;ext=wW204#,pbx=SIP:queue.5@PBX.example.com:5061;transport=tls",
        sip_logins="pbx.example.com=trunk:pass:word",
    )
    assert settings.target("desk") == Target("+15550001111", "ww204#")
    pbx = settings.target("pbx")
    assert (pbx.address, pbx.sip) == ("sip:queue.5@PBX.example.com:5061;transport=tls", True)
    assert pbx.login is not None
    assert (pbx.login.user, pbx.login.password.get_secret_value()) == ("trunk", "pass:word")
    assert "pass:word" not in repr(settings)
    assert {"+15550001111", "pass:word", pbx.address} <= set(settings.unspeakable())
    assert "ww204#" not in settings.unspeakable(), "keys would make holes in every log"


@pytest.mark.parametrize("given", ["pbx.example.com", "pbx.example.com=trunk", "=a:b", "sip:a@b=c:d"])
def test_a_login_names_its_host(given: str) -> None:
    assert set(mistakes(sip_logins=given)) == {"BRIDGE_SIP_LOGINS"}


def test_music_for_callers_on_hold_has_names() -> None:
    assert real(hold_music="jazz=https://example.com/jazz.mp3").hold_music == {
        "jazz": "https://example.com/jazz.mp3"
    }
    for wrong in ("https://example.com/jazz.mp3", "jazz=http://example.com/jazz.mp3", "jazz=jazz.mp3"):
        assert set(mistakes(hold_music=wrong)) == {"BRIDGE_HOLD_MUSIC"}


def test_the_fallback_is_one_of_the_targets() -> None:
    assert mistakes(fallback="office", transfers="desk=+15550001111") == {
        "BRIDGE_FALLBACK": "names no target of BRIDGE_TRANSFERS"
    }


# -- the rest


def test_sound_is_recorded_only_into_a_folder_and_with_consent(tmp_path: Path) -> None:
    assert set(mistakes(record_audio=True)) == {"BRIDGE_RECORD_AUDIO", "BRIDGE_CONSENT"}
    assert real(record_audio="1", recordings=str(tmp_path), consent="handled").record_audio
    assert real(recordings="~/calls").recordings == Path.home() / "calls"
    (tmp_path / "file").touch()
    assert mistakes(recordings=str(tmp_path / "file")) == {"BRIDGE_RECORDINGS": "is not a folder"}


def test_off_turns_off() -> None:
    settings = real(transcribe="off", greeting="Off", journal="off", disclosure="off")
    assert (settings.transcribe, settings.greeting, settings.journal, settings.disclosure) == (
        None,
        None,
        None,
        False,
    )


def test_the_journal_is_kept_where_real_calls_come_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert real().journal == tmp_path / "phonebridge" / "intents.jsonl"
    assert real(public_url="http://127.0.0.1:1").journal is None
    assert real(demo=True).journal is None
    assert load_settings(insecure=True).journal is None
    assert real(demo=True, journal=tmp_path / "j").journal == tmp_path / "j"


def test_a_price_table_has_to_be_there(tmp_path: Path) -> None:
    assert mistakes(prices=str(tmp_path / "none.toml")) == {"BRIDGE_PRICES": "is not there"}
    (tmp_path / "prices.toml").write_text("= 7")
    assert mistakes(prices=str(tmp_path / "prices.toml")) == {"BRIDGE_PRICES": "cannot be read"}


def test_what_may_not_be_logged_is_known() -> None:
    settings = real(twilio_auth_token="one,two", shared_keys="id=three", transfers="desk=+15550001111")
    assert set(settings.unspeakable()) == {"one", "two", "three", KEY, "+15550001111"}


# -- what a call is made of


def test_every_call_begins_like_this() -> None:
    settings = real(instructions="Be brief.", greeting="Hello.", voice="cedar", language="de-AT")
    config = settings.call_config()
    assert (config.session.instructions, config.session.voice, config.greeting) == (
        "Be brief.",
        "cedar",
        "Hello.",
    )
    assert (config.session.transcription, config.session.language) == ("gpt-transcribe", "de")
    assert set(config.phrases) == {*sounds.phrase_names(), "waiting"}
    apology = config.phrases["apology"]
    assert base64.b64decode(apology.audio) == sounds.load("apology", "de")
    size_bytes, words = len(sounds.load("apology", "de")), sounds.text("apology", "de")
    assert (apology.size_bytes, apology.text) == (size_bytes, words)


def test_a_call_s_limits_leave_room_for_a_goodbye() -> None:
    limits = real(max_call_seconds=600, max_call_cost="0.5").call_config().limits
    assert (limits.call_ms, limits.goodbye_ms) == (600_000, 15_000)
    assert (limits.cost_micro_usd, limits.goodbye_micro_usd) == (500_000, 20_000)
    short = real(max_call_seconds=10, max_call_cost="0.01").call_config().limits
    assert (short.goodbye_ms, short.goodbye_micro_usd) == (5_000, 5_000)
    assert real().call_config().limits.cost_micro_usd is None


@pytest.mark.parametrize("rule", ["event", "text", "interrupt"])
def test_the_rule_for_keys(rule: str) -> None:
    assert real(dtmf=rule).call_config().digits == rule


def test_the_fallback_is_known_to_the_call_by_its_name_alone() -> None:
    config = real(transfers="office=+15550001111", fallback="office").call_config()
    assert config.fallback == "office"
    assert b"5550001111" not in msgspec.json.encode(config)


def test_callers_are_told_what_they_speak_with_unless_it_is_turned_off() -> None:
    assert real().call_config().disclosure == "disclosure"
    assert real(disclosure="off").call_config().disclosure == ""


def test_an_announcement_is_bundled_and_may_be_ones_own(tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"record_audio": True, "recordings": "calls", "consent": "announce"}
    config = real(**wanted, language="de").call_config()
    assert config.disclosure == "consent"
    assert config.phrases["consent"].text == sounds.text("consent", "de")
    (tmp_path / "consent.ulaw").write_bytes(b"\x7f" * 160)
    (tmp_path / "texts.json").write_text('{"consent": "You speak with a machine, and the call is recorded."}')
    config = real(**wanted, phrases=str(tmp_path)).call_config()
    assert config.phrases["consent"].text.startswith("You speak with a machine")
    assert real(**{**wanted, "consent": "handled"}).call_config().disclosure == "disclosure"


def test_a_phrase_of_ones_own_may_be_a_wav_file(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text('{"apology": "Oh."}')
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 7, 1, 8_000, 8_000, 1, 8)
    sound = head + struct.pack("<4sI", b"data", 170) + bytes([0x20]) * 170
    (tmp_path / "apology.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(sound)) + b"WAVE" + sound)
    apology = real(phrases=str(tmp_path)).call_config().phrases["apology"]
    assert base64.b64decode(apology.audio) == bytes([0x20]) * 170 + b"\xff" * 150, "in whole frames"
    (tmp_path / "apology.ulaw").write_bytes(b"\x7f" * 160)
    assert mistakes(phrases=str(tmp_path)) == {"BRIDGE_PHRASES": "has a .wav and a .ulaw of: apology"}
    (tmp_path / "apology.ulaw").unlink()
    (tmp_path / "apology.wav").write_bytes(b"ID3 is no wave")
    (told,) = mistakes(phrases=str(tmp_path)).values()
    assert told.startswith("has apology.wav, which cannot be played: file does not start with RIFF")


def test_phrases_of_ones_own_take_the_place_of_the_bundled_ones(tmp_path: Path) -> None:
    (tmp_path / "apology.ulaw").write_bytes(b"\x7f" * 160)
    (tmp_path / "texts.json").write_text('{"apology": "Das tut mir leid."}', encoding="utf-8")
    phrases = real(phrases=str(tmp_path)).call_config().phrases
    assert phrases["apology"] == Sound(base64.b64encode(b"\x7f" * 160).decode(), 160, "Das tut mir leid.")
    assert phrases["busy"].text == sounds.text("busy")


def test_phrases_of_ones_own_are_for_their_language(tmp_path: Path) -> None:
    for folder, words in (("", "Hallo."), ("sv", "Hej."), ("fr", "Salut.")):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "filler.ulaw").write_bytes(b"\x7f" * 160)
        (place / "texts.json").write_text(f'{{"filler": "{words}"}}', encoding="utf-8")
    speech = real(phrases=str(tmp_path), language="de").speech()
    said = {language: speech.sounds(language)["filler"].text for language in (None, "de", "sv", "fr", "en")}
    assert said == {None: "Hallo.", "de": "Hallo.", "sv": "Hej.", "fr": "Salut.", "en": "One moment, please."}
    assert speech.sounds("sv")["apology"].text == sounds.text("apology")


def test_a_phrase_is_heard_in_any_language_where_there_is_one_only(tmp_path: Path) -> None:
    (tmp_path / "closed.ulaw").write_bytes(b"\x7f" * 160)
    (tmp_path / "texts.json").write_text('{"closed": "We are closed."}', encoding="utf-8")
    speech = real(phrases=str(tmp_path)).speech()
    assert speech.sounds("it")["closed"].text == "We are closed."
    remark = "there are no phrases closed in 'it', so callers hear those in 'en'"
    assert speech.remarks("it") == [f"{remark}; BRIDGE_PHRASES takes your own"]


def test_a_language_without_phrases_is_said_at_start() -> None:
    assert real(language="pl").remarks == ()
    remark = "there are no phrases in 'sv', so callers hear those in 'en'; BRIDGE_PHRASES takes your own"
    assert real(language="sv-SE").remarks == (remark,)


@pytest.mark.parametrize(
    ("texts", "sound", "what"),
    [
        (None, b"\x7f", "has no texts.json that says the words of each phrase"),
        ("{", b"\x7f", "has no texts.json that says the words of each phrase"),
        ('["apology"]', b"\x7f", "has no texts.json that says the words of each phrase"),
        ('{"apology": ""}', b"\x7f", "has no texts.json that says the words of each phrase"),
        ("{}", b"\x7f", "has either no words or no sound for: apology"),
        ("{}", None, "has either no words or no sound for: all of them"),
        ('{"apology": "Oh."}', b"", "has either no words or no sound for: apology"),
        ('{"apology": "Oh.", "../busy": "Oh."}', b"\x7f", "has either no words or no sound for: ../busy"),
    ],
)
def test_a_phrase_needs_its_sound_and_its_words(
    tmp_path: Path, texts: str | None, sound: bytes | None, what: str
) -> None:
    if texts is not None:
        (tmp_path / "texts.json").write_text(texts)
    if sound is not None:
        (tmp_path / "apology.ulaw").write_bytes(sound)
    assert mistakes(phrases=str(tmp_path)) == {"BRIDGE_PHRASES": what}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("OPENAI_API_TOKEN", "OPENAI_API_KEY"),
        ("TWILIO_TOKEN", "TWILIO_AUTH_TOKEN"),
        ("TWILIO_AUTHTOKEN", "TWILIO_AUTH_TOKEN"),
        ("TWILIO_SID", "TWILIO_ACCOUNT_SID"),
        ("PUBLIC_URI", "PUBLIC_URL"),
    ],
)
def test_a_vendor_s_name_that_is_nearly_right_is_noticed(
    written: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(written, "x")
    remarks = load_settings(env_file=None, insecure=True).remarks
    assert f"{written} is set and {meant} is not: is that what is meant?" in remarks


@pytest.mark.parametrize(
    "written", ["OPENAI_ORG_ID", "OPENAI_BASE_URL", "TWILIO_API_SECRET", "TWILIO_WORKSPACE_SID"]
)
def test_a_vendor_s_other_names_are_let_be(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(written, "x")
    assert not [one for one in load_settings(env_file=None, insecure=True).remarks if written in one]


def test_https_on_this_machine_is_no_public_url() -> None:
    with pytest.raises(WrongSettings, match="is https on this machine"):
        load_settings(env_file=None, public_url="https://localhost", twilio_auth_token="t" * 32)
