"""A handler answers instead of the model: what is said next is decided here, in plain code."""

from bridge import Agent, Digit, Session, Silence, Turn


async def take_a_message(session: Session) -> None:
    """Ask who calls and why, read it back, and let the caller correct it."""
    await session.say("Nobody is in at the moment. Who is calling, please?")
    name = (await session.input()).text
    said = await session.say(f"Thank you, {name}. What shall I pass on?")
    if said.cut:
        # They began to speak before they had heard all of it: what they say is their message already.
        session.add_text(f"The caller heard only: {said.text}", "system")
    async for happening in session.input():
        match happening:
            case Turn(text) if "goodbye" in text.lower():
                break
            case Turn(text):
                await session.say(f"I have noted: {text}. Say goodbye if that is right, or tell me again.")
            case Digit("0"):
                await session.respond("Apologise that no one can be reached before Monday.")
            case Silence(ms) if ms >= 20_000:
                break
    await session.say("Goodbye.")
    await session.hang_up()


agent = Agent("You take messages.", handler=take_a_message, silence_ms=10_000)
