"""Experiments on calls: recorded callers meet another agent, and what differs is told with its uncertainty.

Floor 8: it plays calls in virtual time (`bridge.testing`), or against a server over sockets.
"""
