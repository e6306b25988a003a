"""The Flask app: which call gets which answer."""

import hashlib
import logging
import time
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from flask import Flask, Response, jsonify, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, NotFound, ServiceUnavailable
from werkzeug.routing import IntegerConverter

from edge.config import LineConfig
from edge.web.album import Album
from edge.web.arrival import MAX_BODY
from edge.web.bodies import BadBody, query, read_body, read_json
from edge.web.channel import to_json
from edge.web.guard import Door, guard
from edge.web.history import History
from edge.web.hub import STALE_S, Hub, TooManyViewers
from edge.web.inference import add_inference
from edge.web.labels import add_labels
from edge.web.metrics import add_metrics
from edge.web.openapi import openapi
from edge.web.predict import RETRY_AFTER_S, Predictor
from edge.web.quick import REFUSED, Quick
from edge.web.shadow import Shadow
from edge.web.workers import Overloaded

_log = logging.getLogger("sortline.web")
PICTURE_WAIT_S = 2.0
MAX_EDGE_AGE_MS = 5000
COMMANDS = {"pause": {"paused": bool}, "arm": {"armed": bool}}
MAX_FORM_PARTS = 100
KINDS = {bool: "true or false"}


class _Number(IntegerConverter):
    """A number in an address, in ASCII digits only: Werkzeug's own takes those of every script."""

    regex = "[0-9]{1,15}"


def create_app(
    hub: Hub,
    predictor: Predictor | None,
    config: LineConfig,
    token: str | None = None,
    *,
    album: Album | None = None,
    shadow: Shadow | None = None,
) -> Flask:
    """The app of one line: hub is what is known of the line, predictor answers /predict (None closes it).

    album keeps the pictures that people label, shadow is the model that looks on.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = 1 << 20
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS
    app.url_map.converters["int"] = _Number
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.globals["asset"] = partial(_asset, Path(app.static_folder or "."))
    # Counts first and last, so that what the guard turns away is counted too.
    requests = add_metrics(app, hub, lambda: predictor.workers.inside if predictor else 0, shadow)
    door = Door(token, config.web.host, config.web.insecure)
    guard(app, door)
    _answer_errors(app)
    _add_health(app, hub)
    _add_page(app, hub, shadow)
    add_labels(app, hub, album, tuple(hub.facts.get("model", {}).get("classes", ())))
    _add_eyes(app, hub, config)
    _add_history(app, History(config.journal.path, tuple(lane.name for lane in config.lanes)))
    _add_predict(app, predictor)
    add_inference(app, predictor)
    description = openapi(predictor.classifier.card if predictor else None, config, token is not None)

    @app.get("/openapi.json")
    def described() -> ResponseReturnValue:
        return jsonify(description)

    if predictor:
        app.wsgi_app = Quick(app, predictor, door, requests)  # type: ignore[method-assign]
    return app


def _add_predict(app: Flask, predictor: Predictor | None) -> None:
    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        if predictor is None:
            raise ServiceUnavailable("The model file cannot be loaded; the log says why")
        if refused := request.environ.get(REFUSED):
            raise refused
        return jsonify(predictor.answer(read_body(request)))


def _add_health(app: Flask, hub: Hub) -> None:
    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return jsonify({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> ResponseReturnValue:
        if hub.state_age_s() > STALE_S:
            parts = {"line": {"ok": False, "text": "not heard of for two seconds"}}
        else:
            parts = hub.state.get("health", {})
        failing = [name for name, part in parts.items() if not part.get("ok")]
        if failing:
            return jsonify({"status": "failing", "failing": failing, "parts": parts}), 503
        return jsonify({"status": "ok", "parts": parts})


def _add_page(app: Flask, hub: Hub, shadow: Shadow | None) -> None:
    @app.get("/")
    def page() -> ResponseReturnValue:
        return render_template("live.html", facts=hub.facts)

    @app.get("/events")
    def events() -> ResponseReturnValue:
        try:
            viewer = hub.view()
        except TooManyViewers:
            return _later("The page is open in as many places as this line serves", 5)
        response = Response(cast(Iterable[bytes], viewer), mimetype="text/event-stream")
        response.call_on_close(viewer.close)
        response.headers["X-Accel-Buffering"] = "no"  # a proxy must pass events on as they come
        return response

    @app.get("/state.json")
    def state() -> ResponseReturnValue:
        return jsonify(hub.everything())

    @app.get("/shadow.json")
    def shadowed() -> ResponseReturnValue:
        if shadow is None:
            raise NotFound("No shadow looks on: model.shadow names none")
        return jsonify(shadow.snapshot())

    @app.get("/picture.jpg")
    def picture() -> ResponseReturnValue:
        newest = hub.jpeg(PICTURE_WAIT_S)
        if newest is None:
            return _later("The camera has given no picture yet", 2)
        about, jpeg = newest
        # With the picture comes what is seen in it, so that no box is ever drawn on another picture.
        return Response(jpeg, mimetype="image/jpeg", headers={"Sortline-Picture": to_json(about).decode()})

    @app.get("/crops/<int:item_id>.jpg")
    def crop(item_id: int) -> ResponseReturnValue:
        kept = hub.kept(item_id)
        if kept is None or kept.thumbnail is None:
            raise NotFound("This item is not among the last ones")
        return Response(kept.thumbnail, mimetype="image/jpeg", headers={"Cache-Control": "private, max-age=600"})

    @app.post("/commands")
    def command() -> ResponseReturnValue:
        hub.command(_command(read_json(request)))
        return jsonify({"status": "sent"}), 202

    @app.post("/incidents/<int:number>/clear")
    def clear(number: int) -> ResponseReturnValue:
        if not hub.clear_incident(number):
            raise NotFound("There is no such incident")
        return jsonify({"status": "cleared"})


def _add_eyes(app: Flask, hub: Hub, config: LineConfig) -> None:
    told = frozenset(name for name, eye in config.photo_eyes.items() if eye.type == "http")

    @app.post("/eyes/<name>")
    def edge(name: str) -> ResponseReturnValue:
        arrived = time.monotonic()
        if name not in told:
            raise NotFound("There is no photo-eye of type http by that name")
        content = read_json(request)
        age_ms = content.get("age_ms", 0) if isinstance(content, dict) and content.keys() <= {"age_ms"} else None
        if isinstance(age_ms, bool) or not isinstance(age_ms, int | float) or not 0 <= age_ms <= MAX_EDGE_AGE_MS:
            raise BadBody(400, f"age_ms must be 0 to {MAX_EDGE_AGE_MS}, and there is no other key")
        hub.command({"command": "eye", "name": name, "at": arrived - age_ms / 1e3})
        return jsonify({"status": "sent"}), 202


def _add_history(app: Flask, history: History) -> None:
    @app.get("/history.json")
    def shift() -> ResponseReturnValue:
        hours = query(request, "hours")
        hours = "8" if hours is None else hours
        if hours not in {"1", "8", "24"}:
            raise BadBody(400, "hours must be 1, 8 or 24")
        return jsonify(history.shift(int(hours)))


def _command(content: Any) -> dict[str, Any]:
    """A person's command, if it is one that the line knows, with values of the right kind and no others."""
    name = content.get("command") if isinstance(content, dict) else None
    keys = COMMANDS.get(name) if isinstance(name, str) else None
    if keys is None:
        raise BadBody(400, f"command must be one of: {', '.join(COMMANDS)}")
    if content.keys() != {"command", *keys} or not all(isinstance(content[k], kind) for k, kind in keys.items()):
        raise BadBody(400, f"{name} needs: {', '.join(f'{k} ({KINDS[kind]})' for k, kind in keys.items())}")
    return dict(content)


@cache
def _asset(folder: Path, name: str) -> str:
    """The address of a static file, with its content's hash: a new version is never hidden by an old cached one."""
    return url_for("static", filename=name, v=hashlib.sha256((folder / name).read_bytes()).hexdigest()[:12])


def _answer_errors(app: Flask) -> None:
    """Every error is one JSON sentence; none shows a path, a stack or a version."""

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> ResponseReturnValue:
        sentence = error.description or error.name
        if error.code == 413:
            sentence = f"The body is larger than the {MAX_BODY >> 20} MB that are taken"
            if (request.content_length or 0) <= MAX_BODY:  # then it is the form's fields that are too many or too large
                sentence = f"The form has more than {MAX_FORM_PARTS} parts, or too much text in them"
        response = jsonify({"error": sentence})
        response.headers.extend(
            (name, value) for name, value in error.get_headers() if name.lower() not in {"content-type"}
        )
        return response, error.code or 500

    @app.errorhandler(Overloaded)
    def overloaded(error: Overloaded) -> ResponseReturnValue:
        return _later("Too many pictures are waiting already", RETRY_AFTER_S)

    @app.errorhandler(Exception)
    def bug(error: Exception) -> ResponseReturnValue:
        _log.exception("%s %s failed", request.method, request.path)
        return jsonify({"error": "Something went wrong here; the log has the details"}), 500


def _later(sentence: str, seconds: int) -> tuple[Response, int, dict[str, str]]:
    return jsonify({"error": sentence}), 503, {"Retry-After": str(seconds)}
