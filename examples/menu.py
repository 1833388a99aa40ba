"""A menu by keys, for callers who know their way: no model is asked what to do with a 1 or a 2."""

from bridge import Agent, Session

HOURS = "We are open from seven to six, and on Sundays from eight to twelve."


async def menu(session: Session) -> None:
    """Ask up to three times; then the model takes over."""
    for _ in range(3):
        await session.say("Press one for our opening hours, two to check an order, nine to end the call.")
        match await session.digits(max=1, timeout_ms=5_000):
            case "1":
                await session.say(HOURS)
            case "2":
                await session.say("Enter the number of your order, then the pound key.")
                number = await session.digits(max=6, timeout_ms=4_000, end="#")
                await session.say(
                    f"Order {' '.join(number)} is in the oven." if number else "Let us start again."
                )
            case "9":
                break
            case "":
                answer = await session.respond("Nobody pressed a key. Ask what you can do for the caller.")
                if answer.cut:
                    await session.input()
    await session.say("Goodbye.")


agent = Agent("You help callers of a bakery who find the menu hard to use.", handler=menu)
