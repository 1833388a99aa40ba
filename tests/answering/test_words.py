"""What words alone tell of who has answered."""

from __future__ import annotations

import pytest

from bridge import sounds
from bridge.core.messages import AnswerKind
from bridge.runner.answer_words import announces_a_tone, who_says

HUMAN, VOICEMAIL, SCREENING = AnswerKind.HUMAN, AnswerKind.VOICEMAIL, AnswerKind.SCREENING
SAID = {
    "Hello?": (HUMAN, True),
    "Miller and Sons, this is Anna, how can I help you?": (HUMAN, True),
    "You've reached Miller and Sons, Anna speaking.": (HUMAN, True),
    "She's not available, can I take a message?": (HUMAN, True),
    "Would you like to leave a message?": (HUMAN, True),
    "Hi, you've reached Bob. Leave a message after the beep.": (VOICEMAIL, True),
    "At the tone, please record your message, or press 1 for more options.": (VOICEMAIL, True),
    "Record your name and reason for calling, and I'll see if this person is available.": (SCREENING, True),
    "For sales, press one.": (AnswerKind.IVR, True),
    "The mailbox is full.": (AnswerKind.UNAVAILABLE, True),
    "The number you have dialed is not in service.": (AnswerKind.UNAVAILABLE, True),
    "You have reached Bob.": (VOICEMAIL, False),
    "Please hold.": (SCREENING, False),
    "Hinterlassen Sie eine Nachricht nach dem Signalton.": (VOICEMAIL, True),
    "Laissez un message après le bip sonore.": (VOICEMAIL, True),
    "Deje su mensaje después de la señal.": (VOICEMAIL, True),
    "Lasciate un messaggio dopo il segnale acustico.": (VOICEMAIL, True),
    "Deixe a sua mensagem após o sinal.": (VOICEMAIL, True),
    "Spreek een bericht in na de piep.": (VOICEMAIL, True),
    "Zostaw wiadomość po sygnale.": (VOICEMAIL, True),
    "発信音の後にメッセージをお願いします。": (VOICEMAIL, True),
    "您好，请在滴声后留言。": (VOICEMAIL, True),
    "Mummy, there is somebody on the phone!": None,
    "": None,
}


@pytest.mark.parametrize("said", SAID)
def test_who_says_so(said: str) -> None:
    assert who_says(said) == SAID[said]


@pytest.mark.parametrize(
    "said",
    [
        "Möchten Sie eine Nachricht hinterlassen?",
        "moechten wir nicht, wollen sie ihm eine nachricht hinterlassen",
        "Voulez-vous lui laisser un message ?",
        "¿Quiere dejar un mensaje?",
        "Vuole lasciare un messaggio?",
        "Quer deixar recado?",
        "Wilt u een bericht achterlaten?",
        "Chce pan zostawić wiadomość?",
        "伝言を承りましょうか？",
        "您要留言吗？",
        "Did you want to leave a message for him?",
        "You can leave a message with me.",
        "I got your voicemail yesterday, thanks for calling back.",
        "Oh, I was just about to leave a message for you.",
        "Is this an answering machine?",
        "Is that a recording? Hello?",
        "Take me off your list.",
        "You've reached Miller and Sons, how may I direct your call?",
    ],
)
def test_a_person_may_speak_of_messages_and_machines(said: str) -> None:
    assert who_says(said) == (HUMAN, True)


@pytest.mark.parametrize(
    "said",
    [
        "Möchten Sie eine Nachricht hinterlassen, sprechen Sie bitte nach dem Signalton.",
        "Si desea dejar un mensaje, hable después de la señal.",
        "Si vous souhaitez laisser un message, parlez après le bip.",
        "Would you like to leave a message? Do so after the tone.",
        "Hello. Who is this? I am not here, leave a message after the beep!",
        "Would you like to leave a message? Press one, or hang up.",
        "Leave your name and number and I'll call you back, okay?",
        "Please say your name and number after the tone.",
        "I am not here, please leave a message.",
        "Please leave your name, your number and the reason for your call after the beep.",
        "Hinterlassen Sie Ihren Namen und den Grund Ihres Anrufs nach dem Signalton.",
        "Your call has been forwarded to an automatic voice mail system.",
    ],
)
def test_a_machine_that_quotes_a_person_is_one(said: str) -> None:
    assert who_says(said) == (VOICEMAIL, True)


@pytest.mark.parametrize(
    "said",
    [
        "Please say your name after the tone, and I will see whether they can take your call.",
        "They can't speak right now. Please tell me who you are and what you are calling about.",
        "Before I try to connect you, can I ask what you're calling about?",
    ],
)
def test_assistants_ask_for_a_name_in_many_words(said: str) -> None:
    assert who_says(said) == (SCREENING, True)


def test_what_agents_say_themselves_is_no_machine_s() -> None:
    for language in sounds.LANGUAGES:
        for name in sounds.phrase_names(language):
            found = who_says(sounds.text(name, language))
            assert found is None or found[0] is not VOICEMAIL or not found[1], (language, name)


def test_a_tone_that_is_announced_is_waited_for() -> None:
    assert announces_a_tone("Leave a message after the tone.")
    assert announces_a_tone("Nachrichten bitte nach dem Signalton.")
    assert not announces_a_tone("Leave a message.")
