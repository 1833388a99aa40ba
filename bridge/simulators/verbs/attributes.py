"""Which attributes each verb and noun has: those of the vendor's TwiML builder (`twilio` 9.13.0)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Final

from ..carrier import WebhookFailed

_CALLBACK: Final = {"statusCallback", "statusCallbackMethod", "statusCallbackEvent"}
_RECORDING: Final = {
    "recordingStatusCallback",
    "recordingStatusCallbackMethod",
    "recordingStatusCallbackEvent",
}
_AMD: Final = {
    "machineDetection", "machineDetectionTimeout", "machineDetectionSpeechThreshold",
    "machineDetectionSpeechEndThreshold", "machineDetectionSilenceTimeout", "amdStatusCallback",
    "amdStatusCallbackMethod",
}  # fmt: skip
_SPEECH: Final = {
    "audioFormat", "confirmation", "connectorName", "sampleRate", "track", "name", "url",
    "statusCallback", "statusCallbackMethod",
}  # fmt: skip

ATTRIBUTES: Final[Mapping[str, set[str]]] = {
    "Response": set(),
    "Say": {"voice", "loop", "language"},
    "Play": {"loop", "digits"},
    "Pause": {"length"},
    "Redirect": {"method"},
    "Reject": {"reason"},
    "Hangup": set(),
    "Connect": {"action", "method"},
    "Stream": _SPEECH - {"confirmation"},
    "Parameter": {"name", "value"},
    "Dial": {
        "action", "method", "timeout", "timeLimit", "callerId", "record", "trim", "hangupOnStar", "ringTone",
        "answerOnBridge", "sequential", "referUrl", "referMethod", "recordingTrack", "events", *_RECORDING,
    },
    "Number": {"url", "method", "sendDigits", "byoc", *_CALLBACK, *_AMD},
    "Sip": {"url", "method", "username", "password", *_CALLBACK, *_AMD},
    "Client": {"url", "method", *_CALLBACK},
    "Identity": set(),
    "Queue": {"url", "method", "reservationSid", "postWorkActivitySid"},
    "Conference": {
        "muted", "beep", "startConferenceOnEnter", "endConferenceOnExit", "waitUrl", "waitMethod",
        "maxParticipants", "record", "region", "coach", "trim", "participantLabel", "jitterBufferSize",
        "eventCallbackUrl", *_CALLBACK, *_RECORDING,
    },
    "Gather": {
        "input", "action", "method", "timeout", "speechTimeout", "maxSpeechTime", "profanityFilter",
        "finishOnKey", "numDigits", "partialResultCallback", "partialResultCallbackMethod", "language",
        "hints", "bargeIn", "debug", "actionOnEmptyResult", "speechModel", "enhanced",
    },
    "Record": {
        "action", "method", "timeout", "finishOnKey", "maxLength", "playBeep", "trim", "transcribe",
        "transcribeCallback", "recordingTrack", *_RECORDING,
    },
    "Enqueue": {"action", "method", "maxQueueSize", "waitUrl", "waitUrlMethod", "workflowSid"},
    "Task": {"priority", "timeout"},
    "Leave": set(),
    "Refer": {"action", "method"},
    "ReferSip": set(),
    "Pay": {
        "input", "action", "bankAccountType", "statusCallback", "statusCallbackMethod", "timeout",
        "maxAttempts", "securityCode", "postalCode", "minPostalCodeLength", "paymentConnector",
        "paymentMethod", "tokenType", "chargeAmount", "currency", "description", "validCardTypes", "language",
    },
    "Start": {"action", "method"},
    "Stop": set(),
    "Recording": {"name", "channels", "track", "trim", *_RECORDING},
}  # fmt: skip
_DIALLED: Final = {"Number", "Sip", "Client", "Identity", "Parameter", "Queue", "Conference"}

NOUNS: Final[Mapping[str, set[str]]] = {
    "Say": set(), "Play": set(), "Pause": set(), "Redirect": set(), "Reject": set(), "Hangup": set(),
    "Leave": set(), "Record": set(), "Pay": {"Prompt", "Parameter"},
    "Connect": {"Stream", "Parameter"},
    "Dial": _DIALLED,
    "Gather": {"Say", "Play", "Pause"},
    "Enqueue": {"Task"},
    "Refer": {"Sip"},
    "Start": {"Stream", "Parameter", "Recording"},
    "Stop": {"Stream", "Recording"},
}  # fmt: skip
"""What may stand in each verb."""


def check(verb: ET.Element, at: str) -> None:
    """Raises WebhookFailed for a noun or an attribute that the carrier does not know."""
    for element in verb.iter():
        known = ATTRIBUTES.get(element.tag)
        if known is None or (element is not verb and element.tag not in NOUNS[verb.tag]):
            raise WebhookFailed(f"{at} says <{element.tag}> in <{verb.tag}>, which this phone does not know")
        if wrong := [name for name in element.keys() if name not in known]:  # noqa: SIM118  an Element
            raise WebhookFailed(f"{at} says <{element.tag} {' '.join(wrong)}>, which is no attribute of it")
