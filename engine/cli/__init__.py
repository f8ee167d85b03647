"""The command: parse, call one function, explain. The only place where the parts are put together.

``main`` holds the application and turns errors into exit codes; ``change``, ``start``, ``look`` and ``run``
hold the verbs of one help group each; ``compose`` goes from a folder to a plan; ``show`` writes to the
screen. Nothing below imports this room.
"""
