"""What callers say to the front desk, and how it must answer: the policy as a table."""

from __future__ import annotations

from typing import Final

import pytest

from tests.doubles.front_desk.restaurant import told

HELP: Final = (
    "I did not understand that. You can ask for opening hours, book, cancel booking or order status."
)

DIALOGUES: Final = {
    # --- looking something up
    "what time do you open on saturday": "opening_hours(day='saturday')",
    "are you open on sunday": "opening_hours(day='sunday')",
    "what are your opening hours": "opening_hours()",
    "When do you close today?": "opening_hours(day='today')",
    "are you open on Mondays": "opening_hours(day='monday')",
    "how late are you open tonight": "opening_hours(day='today')",
    "what's your opening time": "opening_hours()",
    "where is my order four two one seven": "order_status(order_number='4217')",
    "what is the status of order nine zero five": "order_status(order_number='905')",
    "check order number one one two": "order_status(order_number='112')",
    "Where is my order 4217?": "order_status(order_number='4217')",
    "track my order double five one": "order_status(order_number='551')",
    "is order twenty three fifteen ready": "order_status(order_number='2315')",
    "check my order": "Which order number, please?",
    "check my order / nine zero five": "order_status(order_number='905')",
    "check my order / it is seven": "order_status(order_number='7')",
    "check my order / keys 905#": "order_status(order_number='905')",
    "check my order / keys 7": "order_status(order_number='7')",
    "how much is a haircut": "price(service='haircut')",
    "what does a massage cost": "price(service='massage')",
    "what's the price of a manicure": "price(service='manicure')",
    "how much does it cost": "Which service: haircut, massage, manicure?",
    "how much does it cost / the massage": "price(service='massage')",
    "how much does it cost / a manicur please": "price(service='manicure')",
    "how much does it cost / keys 2": "price(service='massage')",
    # --- booking, which is confirmed
    "book a table": "Which day, please?",
    "I'd like to reserve a table": "Which day, please?",
    "can I make an appointment": "Which day, please?",
    "book a table for two on tuesday at seven thirty": "Book: tuesday, 19:30, 2. Right?",
    "book a table for two on tuesday at seven thirty / yes": "book(day='tuesday', time='19:30', people=2)",
    "book a table for two on tuesday at seven thirty / keys 1": "book(day='tuesday', time='19:30', people=2)",
    "book a table for two on tuesday at seven thirty / keys 2": "All right, I leave it. What else?",
    "book a table for 2 on Tuesday at 7:30": "Book: tuesday, 19:30, 2. Right?",
    "book a table for two on friday at half past six": "Book: friday, 18:30, 2. Right?",
    "book a table for two on friday at a quarter to nine": "Book: friday, 08:45, 2. Right?",
    "book a table for six people tomorrow at eight in the evening": "Book: tomorrow, 20:00, 6. Right?",
    "book for monday at nine for one person": "Book: monday, 09:00, 1. Right?",
    "book a table / on the twelfth of december / nine / two":
        "Book: on the twelfth of december, 09:00, 2. Right?",
    "book an appointment for tuesday at ten thirty": "How many people, please?",
    "book an appointment for tuesday at ten thirty / for four": "Book: tuesday, 10:30, 4. Right?",
    "book an appointment for tuesday at ten thirty / four / that is right":
        "book(day='tuesday', time='10:30', people=4)",
    "i would like to book a table for two at seven": "Which day, please?",
    "i would like to book a table for two at seven / on friday": "Book: friday, 19:00, 2. Right?",
    "book a table / friday / at three in the afternoon / for four / yes please":
        "book(day='friday', time='15:00', people=4)",
    "book a table / friday at three in the afternoon / four": "Book: friday, 15:00, 4. Right?",
    "book a table / on friday for four": "Which time, please?",
    "book a table / on friday for four / keys 1930": "Book: friday, 19:30, 4. Right?",
    "book a table / keys 5": "Which time, please?",
    "book a table / friday / nine in the morning": "How many people, please?",
    "book a table / friday / noon / three": "Book: friday, 12:00, 3. Right?",
    "book a table / friday / seven / two": "Book: friday, 19:00, 2. Right?",
    "book a table / friday / eleven am / two": "Book: friday, 11:00, 2. Right?",
    "book for tomorrow at noon for three people / no": "All right, I leave it. What else?",
    "book for tomorrow at noon for three people / no thank you": "All right, I leave it. What else?",
    "book for tomorrow at noon for three people / no / what are your opening hours": "opening_hours()",
    "book for tomorrow at noon for three people / how much is a massage": "price(service='massage')",
    "book a table / no thanks": "All right, I leave it. What else?",
    "cancel my booking": "Cancel booking. Right?",
    "i want to cancel my appointment please": "Cancel booking. Right?",
    "cancel my booking / yes": "cancel_booking()",
    "cancel my booking / keys 1": "cancel_booking()",
    "cancel my booking / no": "All right, I leave it. What else?",
    "cancel my booking / yes exactly": "cancel_booking()",
    # --- people
    "transfer me to sales": "transfer(target='sales')",
    "connect me to support": "transfer(target='support')",
    "let me talk to a person": "Which target: sales, support, owner?",
    "can i speak to a human please": "Which target: sales, support, owner?",
    "let me talk to a person / support please": "transfer(target='support')",
    "let me talk to a person / keys 3": "transfer(target='owner')",
    "i want to speak to the owner": "transfer(target='owner')",
    "keys 0": "transfer(target='sales')",
    "book a table / let me talk to a person": "Which target: sales, support, owner?",
    "let me talk to a person / what are your opening hours": "opening_hours()",
    # --- a message: free words, when they were asked for
    "i would like to leave a message": "What is the text, please?",
    "leave a message / Please call me back on Monday.": "leave_message(text='Please call me back on Monday')",
    "take a message / my booking is for the wrong day":
        "leave_message(text='my booking is for the wrong day')",
    # --- ends
    "goodbye": "hang_up()",
    "bye bye": "hang_up()",
    "thanks that is all bye": "hang_up()",
    "No, that's all, thank you.": "hang_up()",
    "book a table / goodbye": "hang_up()",
    "keys 8": "hang_up()",
    # --- again, and small talk
    "book a table / say that again": "Which day, please?",
    "book a table / pardon": "Which day, please?",
    "please repeat that": "Hello. What can I do for you?",
    "book a table / please repeat that / friday": "Which time, please?",
    "hello": "Hello. What can I do for you?",
    "Good morning!": "Hello. What can I do for you?",
    "hello, what are your opening hours?": "opening_hours()",
    "thank you very much": "You are welcome. Anything else?",
    "thanks": "You are welcome. Anything else?",
    "": "I did not hear that.",
    "...": "I did not hear that.",
    # --- keys without a question
    "keys 1": "opening_hours()",
    "keys 2": "Which day, please?",
    "keys 4 / nine zero five": "order_status(order_number='905')",
    "keys 5 / keys 1": "price(service='haircut')",
    "keys 9": "You can press a key: 1 for opening hours, 2 for book, 3 for cancel booking, "
        "4 for order status, 0 for a person.",
    # --- not understood
    "purple monkeys dance": HELP,
    "yes": HELP,
    "no": HELP,
    "purple monkeys dance / the moon is made of cheese": HELP,
    "purple monkeys dance / the moon is made of cheese / and so forth": "transfer(target='sales')",
    "purple monkeys / what are your opening hours / green moon": HELP,
    "book a table / purple monkeys dance": "I did not understand that. Which day, please?",
    "book a table / purple monkeys dance / friday": "Which time, please?",
    "how much does it cost / a haircutt": "price(service='haircut')",
}  # fmt: skip


@pytest.mark.parametrize("said", DIALOGUES)
def test_a_dialogue_ends_as_it_must(said: str) -> None:
    assert told(*said.split(" / ")) == DIALOGUES[said]


def test_there_are_a_hundred_sayings() -> None:
    assert len(DIALOGUES) >= 100
