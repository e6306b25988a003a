"""What outputs tell of themselves between their pushes, as the line hears it."""

from edge.ailments import Ailments
from edge.records import Scope
from tests.edge.own_parts import Blade


class Heard:
    """An output, and what becomes of its reports: incidents as (cause, recovered)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.blade = Blade("mes", Blade.Settings(type="plant:Blade"))
        self.ailments = Ailments({"mes": self.blade}, self.tell, lambda name: None)

    def tell(
        self, name: str, scope: Scope, cause: str, action: str, item_id: int | None = None, *, recovered: bool = False
    ) -> None:
        self.told.append((cause, recovered))


def test_the_newest_reason_lasts_and_each_is_an_incident_once_until_all_is_over() -> None:
    heard = Heard()
    for cause in ("lost", "not trusted", "lost", "lost"):
        heard.blade.report("output_unreachable", cause, "tried again")
    assert heard.told == [("outputs.mes: lost", False), ("outputs.mes: not trusted", False)]
    assert heard.ailments.sentences() == ["outputs.mes: lost"]
    heard.blade.report("output_unreachable", "reached", "goes on", recovered=True)
    assert heard.ailments.sentences() == []
    heard.blade.report("output_unreachable", "lost", "tried again")
    assert heard.told[2:] == [("outputs.mes: reached", True), ("outputs.mes: lost", False)]
