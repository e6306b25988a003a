"""The report's charts: small SVG drawings without a library, coloured by the page's own style sheet.

Each function returns one `<svg>` whose shapes carry classes only, so that a page that knows a light
and a dark theme, and paper, colours them; texts are escaped.
"""

from collections.abc import Sequence

from markupsafe import Markup, escape

from training.evaluation.drift import Drift, Step
from training.evaluation.metrics import Bin, Curve, Share

Point = tuple[float, float]


class Plot:
    """A drawing area with two linear axes; x and y are the ranges that it spans, sizes are in CSS pixels."""

    def __init__(
        self, width: int, height: int, x: Point, y: Point, left: int = 42, bottom: int = 36, top: int = 10
    ) -> None:
        self.width, self.height = width, height
        self._x, self._y = x, y
        self._left, self._bottom, self._top, self._right = left, bottom, top, 12
        self._parts: list[str] = []

    def at(self, x: float, y: float) -> Point:
        """Where a value lies in the drawing."""
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return (
            self._left + across * (self.width - self._left - self._right),
            self.height - self._bottom - up * (self.height - self._bottom - self._top),
        )

    def line(self, points: Sequence[Point], kind: str) -> None:
        """Straight lines from point to point."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self._parts.append(f'<polyline class="{kind}" points="{places}"/>')

    def bar(self, left: float, right: float, low: float, high: float, kind: str, says: str = "") -> None:
        """A filled rectangle, with a text that shows when it is pointed at."""
        (x0, y0), (x1, y1) = self.at(left, low), self.at(right, high)
        title = f"<title>{escape(says)}</title>" if says else ""
        size = f'width="{max(x1 - x0, 0):.1f}" height="{max(y0 - y1, 0):.1f}"'
        self._parts.append(f'<rect class="{kind}" x="{x0:.1f}" y="{y1:.1f}" {size}>{title}</rect>')

    def dot(self, x: float, y: float, radius: float, kind: str, says: str = "") -> None:
        """A disc, with a text that shows when it is pointed at."""
        left, top = self.at(x, y)
        title = f"<title>{escape(says)}</title>" if says else ""
        self._parts.append(f'<circle class="{kind}" cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}">{title}</circle>')

    def text(self, x: float, y: float, words: str, kind: str = "", dx: float = 0, dy: float = 0) -> None:
        """Words whose anchor the class decides: start without one, `mid` or `end`."""
        left, top = self.at(x, y)
        self._parts.append(f'<text class="{kind}" x="{left + dx:.1f}" y="{top + dy:.1f}">{escape(words)}</text>')

    def axes(self, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]], x_name: str, y_name: str) -> None:
        """Grid lines for y, ticks for both, and what the axes mean."""
        for value, words in ys:
            self.line([(self._x[0], value), (self._x[1], value)], "grid")
            self.text(self._x[0], value, words, "tick end", dx=-6, dy=4)
        for value, words in xs:
            self.text(value, self._y[0], words, "tick mid", dy=15)
        self.text(sum(self._x) / 2, self._y[0], x_name, "axis mid", dy=31)
        if y_name:
            self.text(self._x[0], self._y[1], y_name, "axis", dx=4, dy=11)

    def svg(self, says: str) -> Markup:
        """The whole drawing; says describes it for those who cannot see it."""
        head = f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(says)}">'
        return Markup(head + "".join(self._parts) + "</svg>")  # every text in it was escaped


def percent(value: float | None, digits: int = 1) -> str:
    """A share in words: 0.9833 is 98.3 %. Nothing that is not everything is shown as 100 %."""
    if value is None:
        return "–"
    rounded = round(100 * value, digits)
    if rounded == 100 and value < 1:
        rounded = 100 - 10**-digits
    return f"{rounded:.{digits}f} %" if digits else f"{rounded:.0f} %"


TENTHS = [(i / 5, f"{i * 20}") for i in range(6)]


def reliability_chart(bins: Sequence[Bin]) -> Markup:
    """Accuracy over confidence: on the diagonal a model is as sure as it is right; below, it promises too much."""
    plot = Plot(360, 300, (0, 1), (0, 1))
    plot.axes(TENTHS, TENTHS, "confidence, %", "right, %")
    most = max((one.count for one in bins), default=1)
    for one in bins:
        says = f"{one.count} pictures: confidence {percent(one.confidence)}, right {percent(one.accuracy)}"
        low, high = sorted((one.accuracy, one.confidence))
        plot.bar(one.low + 0.006, one.high - 0.006, 0, low, "fill", says)
        plot.bar(one.low + 0.006, one.high - 0.006, low, high, "gap", says)
    plot.line([(0, 0), (1, 1)], "ideal")
    for one in bins:
        says = f"{one.count} pictures: confidence {percent(one.confidence)}, right {percent(one.accuracy)}"
        plot.dot(one.confidence, one.accuracy, 2.5 + 5 * (one.count / most) ** 0.5, "point", says)
    return plot.svg("Reliability diagram: accuracy over confidence")


def confidence_chart(bins: Sequence[Bin]) -> Markup:
    """How many pictures got which confidence."""
    most = max((one.count for one in bins), default=1)
    plot = Plot(360, 120, (0, 1), (0, most * 1.15))
    plot.axes(TENTHS, [(0, "0"), (most, str(most))], "confidence, %", "pictures")
    for one in bins:
        plot.bar(one.low + 0.006, one.high - 0.006, 0, one.count, "fill", f"{one.count} pictures")
    return plot.svg("Histogram of confidences")


def coverage_chart(curve: Curve, threshold: float, coverage: Share, purity: Share) -> Markup:
    """Purity over coverage as the threshold moves, with the place of the card's threshold marked."""
    floor = min(0.9, *curve.purity, purity.value if purity.value is not None else 1)
    floor = int(floor * 10) / 10
    plot = Plot(240, 180, (0, 1), (floor, 1), top=18)
    ys = [(floor + (1 - floor) * i / 2, f"{100 * (floor + (1 - floor) * i / 2):.0f}") for i in range(3)]
    plot.axes([(0, "0"), (0.5, "50"), (1, "100")], ys, "coverage, %", "")
    steps: list[Point] = []
    for across, up in zip(reversed(curve.coverage), reversed(curve.purity), strict=True):
        steps += [(steps[-1][0] if steps else 0, up), (across, up)]
    plot.line(steps, "curve")
    if coverage.value is not None and purity.value is not None:
        says = f"threshold {threshold:.2f}: coverage {percent(coverage.value)}, purity {percent(purity.value)}"
        plot.dot(coverage.value, max(purity.value, floor), 5, "mark", says)
        near = coverage.value > 0.55
        plot.text(coverage.value, max(purity.value, floor), f"{threshold:.2f}", "note end" if near else "note",
                  dx=-8 if near else 8, dy=-7)  # fmt: skip
    return plot.svg(f"Coverage against purity of {curve.name}")


def drift_chart(drift: Drift, as_is: Step) -> Markup:
    """What becomes of the pictures at each strength, stacked, with the accuracy of the answers and its interval."""
    plot = Plot(320, 220, (-0.5, 5.5), (0, 1))
    steps = [as_is, *drift.steps]
    names = ["0", *(f"{step.strength:g}" for step in drift.steps)]
    if drift.unit == "quality":
        names[0] = "as is"
    plot.axes(list(enumerate(names)), TENTHS, f"{drift.name}, {drift.unit}", "")
    for place, step in enumerate(steps):
        left, right = place - 0.36, place + 0.36
        plot.bar(left, right, 0, step.sorted_right, "good", f"sorted right: {percent(step.sorted_right)}")
        plot.bar(left, right, step.sorted_right, 1 - step.wrong, "idle", f"unknown: {percent(step.unknown)}")
        plot.bar(left, right, 1 - step.wrong, 1, "bad", f"sorted wrong: {percent(step.wrong)}")
    plot.line([(place, step.accuracy.value or 0) for place, step in enumerate(steps)], "curve")
    for place, step in enumerate(steps):
        shown = step.accuracy
        plot.line([(place, shown.low), (place, shown.high)], "whisker")
        says = f"accuracy {percent(shown.value)}, 95 % interval {percent(shown.low)} to {percent(shown.high)}"
        plot.dot(place, shown.value or 0, 4, "mark", says)
    if drift.matters_from is not None:
        place = 1 + [step.strength for step in drift.steps].index(drift.matters_from)
        plot.line([(place - 0.5, 0), (place - 0.5, 1)], "limit")
    return plot.svg(f"Accuracy under {drift.name}")


def share_bar(value: Share) -> Markup:
    """A share as a bar with its interval as a whisker, for a table's cell."""
    if value.value is None:
        return Markup("")
    plot = Plot(96, 14, (0, 1), (0, 1), left=1, bottom=2, top=2)
    plot.bar(0, 1, 0, 1, "sunken")
    plot.bar(0, value.value, 0, 1, "fill", percent(value.value))
    plot.line([(value.low, 0.5), (value.high, 0.5)], "whisker")
    return plot.svg(f"{percent(value.value)}, 95 % interval {percent(value.low)} to {percent(value.high)}")
