"""A model's stand-in that obeys: a receptionist by script, over the tools of whichever session it is in.

`agent.FrontDesk` is the mind; `dialogue.Desk` its policy, text in and text out; the other files are what the
policy knows of English, of tools and of their results.
"""
