"""The carrier's forms, whole and no more: signatures that were computed elsewhere fit them."""

from __future__ import annotations

import pytest
from twilio.request_validator import RequestValidator

from bridge.simulators.carrier import CarrierSimulator
from tests.simulators.server import AC, TOKEN, N, U

B = "https://voice.example.com"
IN = CarrierSimulator(call_sid=f"CA{1:032x}", account_sid=AC, caller=U, called=N)
OUT = CarrierSimulator(call_sid=f"CA{1:032x}", account_sid=AC, caller=N, called=U, direction="outbound-api")
DIALLED = {
    "DialCallStatus": "completed", "DialCallSid": f"CA{0xD1:032x}", "DialCallDuration": "9",
    "DialBridged": "false",
}  # fmt: skip
VERDICT = {
    "AccountSid": AC, "CallSid": f"CA{1:032x}", "AnsweredBy": "machine_end_beep",
    "MachineDetectionDuration": "9420",
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "form", "signature"),
    [
        ("/outbound-call?ref=R1", OUT.form() | {"CallStatus": "in-progress"}, "ijRJAg56ZS9lw4lsWFKZyb4McBM="),
        (
            "/detour/D1/after",
            IN.form() | {"CallStatus": "in-progress"} | DIALLED,
            "W5zWnMT+VMIVoMsUZDb1XtF097g=",
        ),
        ("/amd?ref=R1", VERDICT, "YQjHpqKYPf2zBcLIoqYYEAD7GEs="),
    ],
)
def test_a_form_is_signed_as_computed_elsewhere(path: str, form: dict[str, str], signature: str) -> None:
    assert RequestValidator(TOKEN).compute_signature(f"{B}{path}", form) == signature
