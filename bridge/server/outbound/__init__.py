"""Calls that we place: asked for once, placed once, followed to their end.

`record` is what is known of one, `progress` how that moves (pure), `rules` whether it may be placed, `pacing`
when, `placing` places it and listens to the carrier. The routes are in `server/outbound_routes.py`.
"""
