"""Several processes behind one port of one machine: a supervisor that answers no call, and its workers.

A call stays with the worker that has it. A request that comes to another one is passed on, as the connection
that it came on, before anything is made of it (`bridge/sockets/passing.py`).
"""
