"""The words of a callee who has answered, read for one thing: is it a person, or which machine.

A few phrases that machines say and people do not, in the languages of the bundled phrases. It is no
understanding: what is not found here is left to the ear, the tone, the carrier and the model. Everywhere an
offer ("may I take a message?") or a question ("how can I help?") is a person's, whatever else is in it, but
where a tone or keys are announced: machines quote people.
"""

from __future__ import annotations

import re
from typing import Final

from bridge.core.messages import AnswerKind

_SCREENING: Final = (
    # en: Pixel, iOS 26, carriers
    r"\bname and (?:the |your )?(?:reason|purpose)|\breason (?:for|of) (?:your |the |this )?call",
    r"\bwhy (?:you are|youre) calling|\bwhos calling and (?:why|what)",
    r"\b(?:say|state) your name\b(?! and (?:\w+ )?(?:\w+ )?(?:number|message))",
    r"\bwho you are and (?:why|what)|\bbefore i (?:try to )?connect you",
    r"\bcall (?:is being |may be )?screen(?:ed|ing)",
    r"\bsee if (?:this person|they|he|she|the person) (?:is|are) available|\bscreening service",
    # de, fr, es, it, pt, nl, pl
    r"\bname[n]? und (?:den )?grund|\bgrund (?:ihres|deines|des) anruf",
    r"\bnom et (?:la |le )?(?:raison|motif)|\b(?:raison|motif|objet) de (?:votre|ton|l)? ?appel",
    r"\bnombre y (?:el |la )?(?:motivo|razon)|\bmotivo de (?:su|tu|la) llamada",
    r"\bnome e (?:il |o )?motivo|\bmotivo (?:della|da sua|da) (?:chiamata|ligacao)",
    r"\bnaam en (?:de )?reden|\breden van (?:uw|je) (?:oproep|telefoontje|gesprek)",
    r"\bimie i powod|\bpowod rozmowy",
    r"姓名和来电|来电(?:原因|目的)|お名前とご用件",
)
_HOLD: Final = (
    r"\b(?:stay|remain) on the line|\bplease hold\b|\b(?:trying to )?connect(?:ing)? you\b|\bone moment",
)
_OFFERS: Final = (
    r"\b(?:how|what) (?:can|may|could) (?:i|we) (?:help|do|direct)|\b(?:can|may|could) (?:i|we) help",
    r"\b(?:can|may|shall|could) i (?:take|ask|get|tell)|\bwould (?:you|u) like (?:me )?to",
    r"\b(?:do|did) you wan(?:t|na)\b|\bwould you (?:care|prefer) to",
    r"\bwho (?:is|am|are) (?:this|calling|i|you)|\bwhos (?:this|there|calling)|\bwhat is this about",
    r"\b(?:wie|womit) kann ich|\bkann ich (?:ihnen|dir|etwas|was)|\bwas kann ich",
    r"\bwer (?:ist|spricht) (?:da|dort)",
    r"\b(?:puis|peux) ?je|\bque puis|\bqui est a l ?appareil|\bc est de la part",
    r"\ben que (?:le |te )?puedo|\b(?:puedo|podria) ayudar|\bquien (?:es|habla)|\bde parte de quien",
    r"\b(?:come|in cosa) posso|\bposso aiut|\bchi (?:parla|e)\b",
    r"\b(?:em que|como) posso|\bposso ajudar|\bquem (?:fala|e)\b",
    r"\b(?:waar|hoe|waarmee) kan ik|\bkan ik (?:u|je) helpen|\bmet wie spreek",
    r"\bw czym (?:moge|mogę)|\bczy moge pomoc|\bkto mowi",
    r"ご用件は何|どちら様|请问(?:您是|你是|哪位)|有什么可以帮",
    # "Would you like to leave a message?", also where the transcript has no question mark
    r"\b(?:mochten|wollen|wunschen) sie\b|\b(?:mochtest|willst) du\b|\bsoll ich\b",
    r"(?<!\bsi )\bvous (?:voulez|souhaitez|desirez)\b|(?<!\bsi vous )\b(?:voulez|souhaitez|desirez) vous\b",
    r"(?<!\bsi )\b(?:quiere|quieres|desea|deseas)\b|(?<!\bse )\b(?:vuole|vuoi|desidera)\b",
    r"(?<!\bse )\b(?:quer|deseja|gostaria)\b|\b(?:wilt u|wil je)\b|(?<!\bjesli )\bchce (?:pan|pani)\b",
    r"ましょうか|留言吗",
)
_PERSONS: Final = (
    # Of messages and machines people speak too.
    r"\b(?:message|name|number) with (?:me|us)\b",
    r"\bi (?:just )?(?:got|saw|heard|received) (?:your|the|a) (?:\w+ )?(?:voice ?mail|message|call)",
    r"\bi (?:was|am|wanted|tried|meant) (?:just |only )?(?:about |going |trying )?to leave\b",
    r"\bstop calling|\btake me off|\bremove me from|\bdont call (?:me|here|this)",
    r"\bare you (?:an? )?(?:real|robot|bot|ai|human|machine|recording)\b",
)
_UNAVAILABLE: Final = (
    r"\b(?:mail ?box|voice ?mail)(?: \w+){0,4} (?:is|s) (?:currently )?full|\bmail ?box is full",
    r"\b(?:has not|hasnt|have not|not) (?:yet )?(?:been )?set ?up",
    r"\b(?:not|cannot|cant|unable to) accept(?:ing)? (?:any )?(?:new |more )?messages",
    r"\b(?:not|no longer) in service|\bhas been disconnected|\bcannot be completed as dialed",
    r"\bnumber is not valid",
    r"\b(?:mailbox|anrufbeantworter|sprachbox)(?: \w+){0,3} (?:ist )?voll",
    r"\bkein anschluss unter dieser nummer",
    r"\b(?:rufnummer|nummer)(?: \w+){0,3} nicht vergeben",
    r"\b(?:messagerie|boite vocale)(?: \w+){0,4} (?:est )?pleine",
    r"\bn ?est (?:pas|plus) (?:en service|attribue)",
    r"\bbuzon(?: \w+){0,4} (?:esta )?lleno|\bno (?:existe|esta en servicio)",
    r"\bcasella(?: \w+){0,3} (?:e )?piena|\bnumero(?: \w+){0,3} inesistente",
    r"\bcaixa postal(?: \w+){0,3} (?:esta )?cheia|\bnumero(?: \w+){0,3} nao existe",
    r"\bvoicemail(?: \w+){0,3} (?:is )?vol\b|\bnummer(?: \w+){0,3} niet in gebruik",
    r"\bskrzynka(?: \w+){0,3} (?:jest )?pelna|\bnie ma takiego numeru",
    r"使われておりません|空号|号码不存在|信箱已满",
)
_VOICEMAIL: Final = (
    r"\bleave (?:\w+ ){0,6}?(?:message|name|number)|\bafter the (?:tone|beep|signal)",
    r"\bat the (?:tone|beep)",
    r"\brecord (?:\w+ ){0,3}?message|\bmail ?box of\b|\bfinished recording",
    r"\bvoice ?mail (?:box|of|for|system|service)\b",
    r"\b(?:reached|forwarded to|transferred to|this is|its) (?:\w+ ){0,4}voice ?mail\b",
    r"\b(?:automatic|automated) voice message|\banswering machine|\bget back to you as soon",
    r"\bnach dem (?:signalton|piep|ton|pfeifton)|\bhinterlassen sie|\bnachricht (?:zu )?hinterlassen",
    r"\banrufbeantworter|\bmailbox (?:von|der)|\bsprach(?:box|nachricht)|\bhinterlass(?:t|e)? (?:mir|uns)",
    r"\bapres le (?:bip|signal|signale)|\blaiss(?:ez|er|e) (?:\w+ ){0,3}?message",
    r"\bmessagerie vocale|\brepondeur",
    r"\b(?:despues|tras) (?:de )?(?:la |oir )?(?:el )?(?:senal|tono|bip)",
    r"\bdej(?:e|a|ar) (?:\w+ ){0,3}?mensaje",
    r"\bbuzon de voz|\bcontestador",
    r"\bdopo (?:il )?(?:segnale|bip)|\blasci(?:a|ate|are) (?:\w+ ){0,3}?messaggio|\bsegreteria telefonica",
    r"\b(?:apos|depois) (?:d?o )?(?:sinal|bip)|\bdeix(?:e|ar|a) (?:\w+ ){0,3}?(?:mensagem|recado)",
    r"\bcaixa postal|\bcorreio de voz",
    r"\bna de (?:toon|piep|pieptoon)|\b(?:bericht|boodschap)(?: \w+){0,3} (?:achter|in)|\bantwoordapparaat",
    r"\bpo (?:usłyszeniu )?(?:sygnale|uslyszeniu sygnalu)|\bzostaw(?:ic)? (?:\w+ ){0,3}?wiadomosc",
    r"\bpoczta glosowa",
    r"発信音の後|留守番電話|伝言を|メッセージをお|请(?:在|於)?(?:提示音|滴声|哔声|嘟声)|语音(?:信箱|留言)|请留言",
)
_TONE: Final = (
    r"\b(?:after|at) the (?:tone|beep|signal)|\bnach dem (?:signalton|piep|ton|pfeifton)",
    r"\bapres le (?:bip|signal)|\b(?:despues|tras) (?:de )?(?:la |oir )?(?:el )?(?:senal|tono|bip)",
    r"\bdopo (?:il )?(?:segnale|bip)|\b(?:apos|depois) (?:d?o )?(?:sinal|bip)|\bna de (?:toon|piep)",
    r"\bpo (?:uslyszeniu )?(?:sygnalu?|sygnale)|発信音の後|(?:提示音|滴声|哔声|嘟声)",
)
_MENU: Final = (
    r"\bpress (?:the )?(?:\d|one|two|three|four|five|six|seven|eight|nine|zero|star|pound|hash)\b",
    r"\bfor \w+(?: \w+){0,4} (?:press|dial|say)\b|\bmain menu|\bmenu options|\bfollowing options",
    r"\bextension (?:number )?now",
    r"\bdrucken sie(?: bitte)?(?: die)? (?:\d|eins|zwei|drei|vier|null)|\bwahlen sie die",
    r"\b(?:tapez|appuyez sur|composez)(?: le)? (?:\d|un|deux|trois)",
    r"\b(?:pulse|marque|presione)(?: el)? (?:\d|uno|dos|tres)",
    r"\b(?:prema|premere|digiti)(?: il)? (?:\d|uno|due|tre)",
    r"\b(?:digite|pressione|tecle) (?:\d|um|dois|tres)|\btoets (?:\d|een|twee|drie)",
    r"\b(?:wybierz|nacisnij) (?:\d|jeden|dwa|trzy)",
    r"番を押|請按|请按",
)
_SPEAKS: Final = (
    r"\w+ speaking$|^(?:this is )?(?:he|she|speaking)$",
    r"\bam apparat$|\bal aparato$|\ba l ?appareil$|\bspreekt (?:u|je) mee$",
)
_MAYBE: Final = (
    r"\byou(?: have|ve)? reached|\b(?:not|isnt|arent|un) ?available|\bcant come to the phone",
    r"\bcannot come to",
    r"\b(?:unable|not able) to (?:take|answer|come)",
    r"\b(?:cant|cannot) (?:take|answer|get to) (?:your|the|my)",
    r"\bwe are (?:currently )?closed|\boffice hours|\bvoice ?mail\b",
    r"\b(?:nicht|derzeit nicht) (?:erreichbar|zu erreichen|verfugbar)",
    r"\b(?:pas|n ?est pas) (?:disponible|joignable)|\bno (?:esta |se encuentra )?disponible",
    r"\bnon (?:e )?(?:disponibile|raggiungibile)",
    r"\bnao (?:esta )?disponivel|\bniet (?:bereikbaar|beschikbaar|aanwezig)",
    r"\bnie (?:moge|jest) (?:teraz )?(?:odebrac|dostepn)",
    r"出ることができません|无法接听|暂时无法接通",
)
_GREETINGS: Final = (
    "hello hi hey yes yeah yep hallo ja nein ciao pronto si dica allo oui bonjour hola diga digame bueno alo "
    "sim ola tak slucham halo hoi goedemorgen moshi もしもし はい 喂 你好 您好"
)
_HELLO: Final = frozenset(_GREETINGS.split())
_MOST_WORDS: Final = 3
"""Of a first word, as in "hello, who's there?"."""
_LATIN: Final = str.maketrans("äöüßáàâãéèêëíìîïóòôõúùûçñąćęłńśźżœ", "aousaaaaeeeeiiiioooouuucnacelnszzo")


_TAGS: Final = frozenset(["ok", "okay", "alright", "right", "yeah", "ja", "gell", "vale", "oui", "si"])
"""The last word of a question that asks for nothing, as in "I will call you back, okay?", is one of these."""


def _any(*tables: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(one for table in tables for one in table))


_SCREENS: Final = _any(_SCREENING)
_SEES: Final = re.compile(r"\bsee (?:if|whether)|screen")
_LEAVES: Final = re.compile(r"\bleave\b|\bhinterl|\blaiss|\bdej[ae]\b|\blasci|\bdeix|\bachter|\bzostaw")
"""Mailboxes ask for a name and a reason too: those are to be left."""
_WAITS: Final = _any(_OFFERS, _PERSONS)
_TIERS: Final = (
    (_any(_UNAVAILABLE), AnswerKind.UNAVAILABLE, True),
    (_any(_VOICEMAIL), AnswerKind.VOICEMAIL, True),
    (_any(_MENU), AnswerKind.IVR, True),
    (_any(_SPEAKS), AnswerKind.HUMAN, True),
    (_any(_MAYBE), AnswerKind.VOICEMAIL, False),
    (_any(_HOLD), AnswerKind.SCREENING, False),
)


def plain(text: str) -> str:
    """Small letters without accents, and a space for all that is no letter; an apostrophe for nothing."""
    text = text.casefold().replace("'", "").replace("’", "").translate(_LATIN)
    return " ".join("".join(one if one.isalnum() else " " for one in text).split())


_ANNOUNCED: Final = _any(_TONE)
_ANNOUNCES: Final = _any(_TONE, _MENU)


def announces_a_tone(text: str) -> bool:
    """Whether the caller is told to wait for one."""
    return _ANNOUNCED.search(plain(text)) is not None


def who_says(text: str) -> tuple[AnswerKind, bool] | None:
    """Who speaks like this, and whether that is sure; None where the words do not tell."""
    said = plain(text)
    if _SCREENS.search(said) and (_SEES.search(said) or not _LEAVES.search(said)):
        return AnswerKind.SCREENING, True
    if not _ANNOUNCES.search(said) and (_WAITS.search(said) or _asks(text, said)):
        return AnswerKind.HUMAN, True
    for pattern, kind, sure in _TIERS:
        if pattern.search(said):
            return kind, sure
    words = said.split()
    if words and len(words) <= _MOST_WORDS and not _HELLO.isdisjoint(words):
        return AnswerKind.HUMAN, True
    return None


def _asks(text: str, said: str) -> bool:
    """Whether it ends with a question: who asks one waits for the answer."""
    return text.rstrip(" \"'»”").endswith(("?", "？")) and said.rpartition(" ")[2] not in _TAGS
