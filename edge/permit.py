"""Whether the outputs may act: armed by a person or by the configuration, and not paused."""

from dataclasses import dataclass


@dataclass(slots=True)
class Permit:
    """One for the whole line. Without it everything goes to the default lane, and no output is called at all.

    armed says that somebody has allowed the outputs to move, once and for as long as the line runs or
    until it is taken back; paused that sorting rests for a while. Decisions are made and written down either way.
    Two flags that any thread may read and set: each is one word, and the last word counts.
    """

    armed: bool = True
    paused: bool = False

    @property
    def given(self) -> bool:
        """Whether an output may be called now."""
        return self.armed and not self.paused
