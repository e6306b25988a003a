"""/metrics: the line's newest state and the web side's own requests, as Prometheus reads them.

Names and units follow https://prometheus.io/docs/practices/naming/: base units (seconds, metres), a
`_total` for what only grows, and no label whose values a stranger can choose.
"""

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from edge.web.hub import Hub
from edge.web.shadow import Shadow

DURATIONS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
STAGES = ("waiting", "finding", "queueing", "classifying", "voting", "output")
ENDLESS = frozenset({"events"})  # an answer that streams for hours would only spoil the durations


class Requests:
    """Counts what is answered, and how long that took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "sortline_http_requests", "Requests answered by the web side.", ("endpoint", "code"), registry=registry
        )
        self._durations = Histogram(
            "sortline_http_request_duration_seconds",
            "Time to answer a request, without receiving and sending it.",
            ("endpoint",),
            buckets=DURATIONS_S,
            registry=registry,
        )

    def count(self, endpoint: str, code: int, seconds: float | None) -> None:
        """One more answer; seconds is None where its length says nothing."""
        self._answered.labels(endpoint, str(code)).inc()
        if seconds is not None:
            self._durations.labels(endpoint).observe(seconds)


def add_metrics(app: Flask, hub: Hub, inside: Callable[[], int], shadow: Shadow | None = None) -> Requests:
    """Adds /metrics to an app, and counts its requests; inside says how many pictures are being answered."""
    registry = CollectorRegistry()
    registry.register(LineCollector(hub, inside, shadow))
    ProcessCollector(namespace="sortline_web", registry=registry)
    requests = Requests(registry)

    @app.before_request
    def start() -> None:
        g.started = perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        endpoint = (request.endpoint or "none").replace(".", "_")
        timed = endpoint not in ENDLESS and "started" in g
        requests.count(endpoint, response.status_code, perf_counter() - g.started if timed else None)
        return response

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return requests


class LineCollector(Collector):
    """The newest state of the line as metrics. While none has come there is only what the web side knows."""

    def __init__(self, hub: Hub, inside: Callable[[], int], shadow: Shadow | None = None) -> None:
        self._hub, self._shadow = hub, shadow
        self._inside = inside

    def collect(self) -> Iterator[Metric]:
        hub = self._hub
        yield _gauge("sortline_line_up", "1 while the line is heard of.", float(hub.state_age_s() < 2.0))
        yield _gauge("sortline_viewers", "Open live pages.", hub.viewers)
        yield _gauge(
            "sortline_predict_in_progress", "Pictures admitted to /predict and not answered yet.", self._inside()
        )
        yield self._info()
        if self._shadow:
            yield from _shadow(self._shadow.snapshot())
        if hub.state:
            yield from _line(hub.state)
            yield from _books(hub.state)
            yield from _timing(hub.state)
            yield from _truth(hub.state.get("simulated"))
            yield from _checked(hub.state["checked"])
            yield from _drift(hub.state["drift"])

    def _info(self) -> Metric:
        facts = self._hub.facts
        model = facts.get("model", {})
        info = {f"model_{key}": str(model.get(key, "")) for key in ("name", "version", "sha256", "provider")}
        return InfoMetricFamily("sortline", "What runs here.", {"version": str(facts.get("version", "")), **info})


def _line(state: dict[str, Any]) -> Iterator[Metric]:
    yield _gauge("sortline_uptime_seconds", "Time since the line started.", state["uptime_s"])
    yield _counter("sortline_frames", "Pictures taken from the camera.", state["frames"])
    yield _counter("sortline_frames_skipped", "Pictures passed over because a newer one was there.", state["skipped"])
    yield _gauge("sortline_camera_frames_per_second", "Rate of the camera's pictures.", state["fps"])
    yield _counter("sortline_belt_travel_meters", "Belt that has passed since the start.", state["position_mm"] / 1e3)
    yield _gauge("sortline_belt_speed_meters_per_second", "Speed of the belt.", state["speed_mm_s"] / 1e3)
    yield _gauge("sortline_paused", "1 while everything is left to the default lane.", float(state["paused"]))
    yield _gauge("sortline_outputs_armed", "1 while the outputs may move.", float(state["armed"]))
    health = {part: float(found["ok"]) for part, found in state["health"].items()}
    yield _gauges("sortline_part_healthy", "1 while a part of the line is well.", "part", health)
    yield _counters("sortline_incidents", "Unusual events.", "name", state["incidents"])
    says = "Rows that the journal or the file of --decisions could not keep."
    yield _counters("sortline_journal_rows_lost", says, "file", state["rows_lost"])
    yield _counter(
        "sortline_web_events_dropped", "Events that the page was not told, being slow.", state.get("web_dropped", 0)
    )


def _books(state: dict[str, Any]) -> Iterator[Metric]:
    born, on_belt, outcomes = state["born"], state["on_belt"], state["outcomes"]
    yield _counter("sortline_items", "Items seen.", born)
    yield _gauge("sortline_items_on_belt", "Items between camera and the end of the belt.", on_belt)
    yield _counters("sortline_items_ended", "Items by how their life on the belt ended.", "outcome", outcomes)
    yield _gauge(
        "sortline_items_unaccounted",
        "Items seen, less those ended and those on the belt: always 0.",
        born - on_belt - sum(outcomes.values()),
    )
    yield _counters("sortline_decisions", "Decisions by reason.", "reason", state["reasons"])
    lanes = CounterMetricFamily("sortline_lane_items", "Items decided, by lane and class.", labels=("lane", "class"))
    for lane, found in state["lanes"].items():
        for label, items in found["classes"].items():
            lanes.add_metric((lane, str(label)), items)
    yield lanes


def _timing(state: dict[str, Any]) -> Iterator[Metric]:
    latency = HistogramMetricFamily(
        "sortline_decision_latency_seconds", "From the capture of a picture to the vote it gives."
    )
    latency.add_metric((), _buckets(state["latency"]), state["latency"]["sum_s"])
    yield latency
    stages = HistogramMetricFamily(
        "sortline_stage_duration_seconds", "Time spent in each stage of an item's way.", labels=("stage",)
    )
    for stage in STAGES:
        if found := state["stages"].get(stage):
            stages.add_metric((stage,), _buckets(found), found["sum_s"])
    yield stages
    if margin := state["stages"].get("margin"):
        family = HistogramMetricFamily(
            "sortline_decision_margin_seconds", "Time left at a decision until the item's point of no return."
        )
        family.add_metric((), _buckets(margin), margin["sum_s"])
        yield family


def _truth(simulated: dict[str, Any] | None) -> Iterator[Metric]:
    """What only a simulated belt can know."""
    if not simulated:
        return
    if simulated["sort_accuracy"] is not None:
        yield _gauge("sortline_sort_accuracy_ratio", "Share of items in their true lane.", simulated["sort_accuracy"])
    for measure, says in (("purity", "Share of a lane's items that belong there."), ("yield", "Share that got there.")):
        values = {lane: found[measure] for lane, found in simulated["lanes"].items() if found[measure] is not None}
        yield _gauges(f"sortline_lane_{measure}_ratio", says, "lane", values)


def _checked(checked: dict[str, Any]) -> Iterator[Metric]:
    """What people have said; a lane of which nothing was checked tells nothing."""
    yield _counter("sortline_checked_items", "Items whose true class a person has said.", checked["items"])
    for measure, says in (
        ("purity", "in the lane and belonged there"),
        ("yield", "belonged to the lane and got there"),
    ):
        shares = {
            lane: found[measure]["right"] / found[measure]["of"]
            for lane, found in checked["lanes"].items()
            if found[measure]["of"]
        }
        yield _gauges(f"sortline_checked_{measure}_ratio", f"Share of checked items that were {says}.", "lane", shares)


def _drift(drift: dict[str, Any]) -> Iterator[Metric]:
    things = drift["things"]
    index = {name: one["psi"] for name, one in things.items()}
    yield _gauges("sortline_drift_stability_index", "Newest items against the run's first (PSI).", "of", index)
    drifted = {name: float(one["drifted"]) for name, one in things.items()}
    yield _gauges("sortline_drifted", "1 while the newest items differ from the run's first.", "of", drifted)


def _shadow(shadow: dict[str, Any]) -> Iterator[Metric]:
    yield _counter("sortline_shadow_items", "Items that the shadow model has looked at.", shadow["seen"])
    yield _counter("sortline_shadow_same_lane", "Of these, those it would have sent the same way.", shadow["same_lane"])
    yield _counter("sortline_shadow_same_class", "Of these, those it took for the same.", shadow["same_class"])
    yield _counter("sortline_shadow_skipped", "Items that the shadow had no time for.", shadow["skipped"])


def _buckets(found: dict[str, Any]) -> list[tuple[str, float]]:
    return [(str(float(upper)), float(count)) for upper, count in found["buckets"]] + [("+Inf", found["count"])]


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, value=value)


def _counter(name: str, says: str, value: float) -> Metric:
    return CounterMetricFamily(name, says, value=value)


def _gauges(name: str, says: str, label: str, values: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _counters(name: str, says: str, label: str, values: dict[str, float]) -> Metric:
    family = CounterMetricFamily(name, says, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
