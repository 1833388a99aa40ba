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


def test_what_agents_say_themselves_is_no_machine_s() -> None:
    for language in sounds.LANGUAGES:
        for name in sounds.phrase_names(language):
            found = who_says(sounds.text(name, language))
            assert found is None or found[0] is not VOICEMAIL or not found[1], (language, name)


def test_a_tone_that_is_announced_is_waited_for() -> None:
    assert announces_a_tone("Leave a message after the tone.")
    assert announces_a_tone("Nachrichten bitte nach dem Signalton.")
    assert not announces_a_tone("Leave a message.")
