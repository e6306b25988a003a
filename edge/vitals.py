"""Which parts of a line are well, and whether its own threads still come round.

What lies outside of the line and may hang (a camera, an output, an encoder) has a thread of its own, and others that
look after it. Here it is the line itself: a thread of it that hangs, in a model or in a user's function, or that has
died, comes round no more: `/readyz` says so, and the watchdog of a supervisor is no longer fed (edge/service.py).
"""

from typing import TYPE_CHECKING, Any

from edge.clock import Clock
from edge.encoders.belt import EncoderBelt

if TYPE_CHECKING:
    from edge.line import Line

ROUND_S = 1.0  # a thread that waits for its work comes round at least so often
HANGS_S = 5.0  # who has not come round for so long hangs

WHAT: dict[str, str] = {
    "eye": "the thread that finds items",
    "mind": "the thread that classifies",
    "hand": "the thread that plans the pushes",
    "watch": "the thread that looks after the others",
}


class Vitals:
    """When each thread last came round: each says so itself, by its name of WHAT. Threads share it without a lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._round_at: dict[str, float] = {}

    def comes_round(self, thread: str) -> None:
        self._round_at[thread] = self._clock.now()

    def ended(self, thread: str) -> None:
        """It has done its work and is not missed: a recorded source has come to its end."""
        self._round_at.pop(thread, None)

    def trouble(self) -> str | None:
        """Which threads hang, and for how long the first of them has; None when all come round."""
        now = self._clock.now()
        away_s = {WHAT[thread]: now - at for thread, at in self._round_at.copy().items() if now - at > HANGS_S}
        if not away_s:
            return None
        have = "has" if len(away_s) == 1 else "have"
        return f"{' and '.join(away_s)} {have} not come round for {max(away_s.values()):.0f} s"


def health_of(line: "Line") -> dict[str, dict[str, Any]]:
    """Which are well: camera, the line, model, outputs, encoder, photo-eyes; each {"ok": bool, "text": sentence}."""
    camera, eyes = line.grabber.stats(), len(line.config.photo_eyes)
    troubles = {
        "line": (line.vitals.trouble(), "its threads come round"),
        "model": (line.mind.trouble(), "ready"),
        "outputs": (line.hand.trouble(), f"{len(line.outputs)} ready"),
        **({"encoder": (line.belt.trouble(), "counting")} if isinstance(line.belt, EncoderBelt) else {}),
        **({"eyes": (line.photo_eyes.trouble(), f"{eyes} watching")} if eyes else {}),
    }
    return {
        "camera": {"ok": camera.state in {"running", "ended"} and not camera.trouble, "text": camera.text},
        **{part: {"ok": trouble is None, "text": trouble or well} for part, (trouble, well) in troubles.items()},
    }
