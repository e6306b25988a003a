"""Turns: when each output's next push is due, so that none keeps the interpreter in hand past another's moment."""


class Turns:
    """The moments of the pushes that are about to be made, by output. For threads of one interpreter.

    A thread that sleeps with the interpreter in hand lets no other Python thread run. Where another output's
    moment comes first, that one's thread may be waiting for the interpreter just then.
    """

    def __init__(self) -> None:
        self._moments: dict[str, float] = {}

    def expect(self, name: str, at: float) -> float | None:
        """Enters an output's next moment; returns the earliest of the others' moments before it, None without one."""
        self._moments[name] = at
        others = self._moments.copy()  # at once: other threads come and go
        return min((one for other, one in others.items() if other != name and one < at), default=None)

    def over(self, name: str) -> None:
        """The output's push is being made, or is not any more."""
        self._moments.pop(name, None)
