"""What the two test applications have in common: three things that PUT and DELETE work on."""

PAUSE = 0.2
"""Seconds that a handler takes, so that a client is sure to see its job unfinished."""

THING = {"name": "lamp", "price": "12.50"}
IN_USE = {"error": {"code": "in-use", "message": "Somebody works with it."}}
