"""Calls to the agent, in virtual time: no key, no network, no waiting. Run them with `pytest`.

What the model answers is written down beforehand; phone and model are simulated, all between them is real.
"""

from agent import agent


def test_it_knows_when_it_is_open(calls):
    caller, model, at, expect = calls(agent)
    at(5_000)
    caller.says("When are you open on Saturday?")
    model.calls("opening_hours", day="saturday")
    model.answers("On Saturdays from eight to twelve.")
    at(12_000)
    expect.tool_called("opening_hours", day="saturday").tool_answered("eight to twelve")
    expect.heard_text("On Saturdays from eight to twelve.")


def test_it_asks_again_for_an_order_that_there_is_not(calls):
    caller, model, at, expect = calls(agent)
    at(5_000)
    caller.says("Where is my order ninety-nine?")
    model.calls("order_status", order_number="99")
    model.answers("I cannot find it. Which number is it, please?")
    at(12_000)
    expect.tool_answered("Ask for the number again")


def test_a_caller_who_interrupts_is_not_told_the_rest(calls):
    caller, model, at, expect = calls(agent)
    at(5_000)
    model.speaks("We are open from seven to six, every day of the week but Sunday.", ms=4_000)
    at(6_000)
    caller.interrupts("And on Sundays?")
    expect.heard_text("We are open from").barge_ins(1)
