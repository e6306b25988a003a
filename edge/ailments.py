"""What outputs tell of themselves between their pushes: incidents, and what is not well until they say that it is."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from edge.herald import Tell
from edge.outputs import Output, Report

REASONS = 20  # of one trouble are kept apart


class Ailments:
    """Hears every output, from whichever thread it speaks, and tells on.

    back(name) is called when an output is reached again. An output that goes on being unwell for another reason than
    before tells again: the newest reason is the one that lasts, and each is an incident once, until all is over.
    """

    def __init__(self, outputs: Mapping[str, Output], tell: Tell, back: Callable[[str], object]) -> None:
        self._tell, self._back = tell, back
        self._lasting: dict[tuple[str, str], str] = {}
        self._known: dict[tuple[str, str], deque[str]] = {}
        for name, output in outputs.items():
            output.report_to(self._report_of(name))

    def sentences(self) -> list[str]:
        """What is not well now; any thread may ask."""
        return [said for _, said in sorted(self._lasting.copy().items())]

    def _report_of(self, output: str) -> Report:
        def report(name: str, cause: str, action: str, *, recovered: bool = False) -> None:
            cause = f"outputs.{output}: {cause}"
            known = self._known.setdefault((output, name), deque(maxlen=REASONS))
            if recovered:
                self._lasting.pop((output, name), None)
                known.clear()
                if name == "output_unreachable":
                    self._back(output)
            else:
                self._lasting[output, name] = cause
                if cause in known:
                    return
                known.append(cause)
            self._tell(name, "output", cause, action, recovered=recovered)

        return report


def said_once(sentences: Iterable[str | None]) -> str:
    """The sentences in one, without those that another one begins with; None is none."""
    found = dict.fromkeys(filter(None, sentences))
    return "; ".join(one for one in found if not any(other != one and other.startswith(one) for other in found))
