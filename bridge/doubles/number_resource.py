"""The IncomingPhoneNumber resource of the carrier's REST API.

https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .call_resource import Refused

_FIELDS: Final = {
    "FriendlyName": "friendly_name", "SmsApplicationSid": "sms_application_sid",
    "SmsFallbackMethod": "sms_fallback_method", "SmsFallbackUrl": "sms_fallback_url",
    "SmsMethod": "sms_method", "SmsUrl": "sms_url", "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method", "VoiceApplicationSid": "voice_application_sid",
    "VoiceCallerIdLookup": "voice_caller_id_lookup", "VoiceFallbackMethod": "voice_fallback_method",
    "VoiceFallbackUrl": "voice_fallback_url", "VoiceMethod": "voice_method", "VoiceUrl": "voice_url",
    "TrunkSid": "trunk_sid", "VoiceReceiveMode": "voice_receive_mode", "AccountSid": "account_sid",
    "ApiVersion": "api_version", "EmergencyStatus": "emergency_status",
    "EmergencyAddressSid": "emergency_address_sid", "IdentitySid": "identity_sid",
    "AddressSid": "address_sid", "BundleSid": "bundle_sid",
}  # fmt: skip
"""Every parameter of an update, and the field that it sets."""
_URL: Final = re.compile(r"https?://[^/?#\s]+\S*", re.IGNORECASE)
_METHODS: Final = {"GET", "POST"}


def number_json(account_sid: str, place: int, number: Mapping[str, Any]) -> dict[str, Any]:
    """A number as the API gives it: one that leads nowhere, but for what `number` says."""
    sid = number.get("sid", f"PN{place:032x}")
    return {
        "sid": sid, "account_sid": account_sid, "phone_number": "+15550000000",
        "friendly_name": number.get("phone_number", "+15550000000"), "api_version": "2010-04-01",
        "beta": False, "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "date_created": "Sun, 01 Nov 2026 10:00:00 +0000",
        "date_updated": "Sun, 01 Nov 2026 10:00:00 +0000", "identity_sid": None, "address_sid": None,
        "address_requirements": "none", "origin": "twilio", "sms_application_sid": "",
        "sms_fallback_method": "POST", "sms_fallback_url": "", "sms_method": "POST", "sms_url": "",
        "status_callback": "", "status_callback_method": "POST", "trunk_sid": None,
        "uri": f"/2010-04-01/Accounts/{account_sid}/IncomingPhoneNumbers/{sid}.json",
        "voice_receive_mode": "voice", "voice_application_sid": "", "voice_caller_id_lookup": False,
        "voice_fallback_method": "POST", "voice_fallback_url": "", "voice_method": "POST", "voice_url": "",
        "emergency_status": "Inactive", "emergency_address_sid": None,
        "emergency_address_status": "unregistered", "bundle_sid": None, "status": "in-use", "type": "local",
        **number,
    }  # fmt: skip


def updated(number: Mapping[str, Any], form: Mapping[str, str]) -> dict[str, Any] | Refused:
    """The number's fields after an update, or why it is refused. "" clears a field. An application and a
    trunk drive each other out, and each makes the voice URLs dead (`leads_to`).
    """
    if unknown := sorted(set(form) - set(_FIELDS)):
        return Refused(20001, f"Unknown parameters: {', '.join(unknown)}")
    changed = {**number}
    for name, value in form.items():
        if name.endswith("Url") or name == "StatusCallback":
            if value and not _URL.fullmatch(value.partition("#")[0]):
                return Refused(21402, f"{name} is not a valid URL: {value}")
        elif name.endswith("Method") and value not in _METHODS:
            return Refused(21403, f"{name} is {value}")
        changed[_FIELDS[name]] = value == "true" if name == "VoiceCallerIdLookup" else value
    if changed.get("voice_fallback_url") and not changed.get("voice_url"):
        return Refused(21405, "VoiceFallbackUrl without VoiceUrl")
    if form.get("TrunkSid"):
        changed["voice_application_sid"] = ""
    elif form.get("VoiceApplicationSid"):
        changed["trunk_sid"] = None
    changed["trunk_sid"] = changed.get("trunk_sid") or None
    return changed


def is_wanted(number: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Whether a list's filters let it through: `PhoneNumber` may be a part, with `*` for a digit."""
    part = query.get("PhoneNumber", "")
    pattern = re.escape(part).replace(r"\*", ".")
    named = query.get("FriendlyName", number["friendly_name"]) == number["friendly_name"]
    origin = query.get("Origin", number["origin"]) == number["origin"]
    return bool(re.search(pattern, number["phone_number"])) and named and origin


def leads_to(
    number: Mapping[str, Any], applications: Mapping[str, str]
) -> tuple[str, str, tuple[str, str] | None] | None:
    """Where a call to the number goes: URL, method, and the fallback's. None where it leads to no webhook: a
    trunk, a fax, an application without a URL, nothing at all.
    """
    if number["trunk_sid"] or number["voice_receive_mode"] != "voice":
        return None
    if number["voice_application_sid"]:
        url = applications.get(number["voice_application_sid"], "")
        return (url, "POST", None) if url else None
    if not number["voice_url"]:
        return None
    fallback = number["voice_fallback_url"]
    kept = (fallback, number["voice_fallback_method"]) if fallback else None
    return number["voice_url"], number["voice_method"], kept
