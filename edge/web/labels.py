"""/labels: what a person says that an item really is. The picture is kept, the line journals it and counts."""

from typing import Any

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from edge.web.album import Album
from edge.web.bodies import BadBody, read_json
from edge.web.hub import Hub


def add_labels(app: Flask, hub: Hub, album: Album | None, classes: tuple[str, ...]) -> None:
    """Adds /labels to an app. Without an album, or where it refuses, no picture is kept; the word counts all the same.

    That an album refuses is the line's to tell.
    """

    @app.post("/labels")
    def label() -> ResponseReturnValue:
        item_id, name = _read(read_json(request), classes)
        kept = hub.kept(item_id)
        if kept is None:
            raise NotFound("This item is not among the last ones")
        decision = kept.decision
        picture = None
        if album is not None and kept.crop is not None:
            picture = album.label(item_id, decision["wall"], name, kept.crop)
        hub.check(item_id, name)
        hub.command(
            {"command": "label", "item_id": item_id, "lane": decision["lane"], "label": name, "picture": picture}
        )
        return jsonify({"status": "kept" if picture else "counted"}), 202


def _read(content: Any, classes: tuple[str, ...]) -> tuple[int, str | None]:
    if not isinstance(content, dict) or content.keys() != {"item_id", "label"}:
        raise BadBody(400, 'The body must be {"item_id": number, "label": class or null}')
    item_id, name = content["item_id"], content["label"]
    if isinstance(item_id, bool) or not isinstance(item_id, int):
        raise BadBody(400, "item_id must be a whole number")
    if name is not None and name not in classes:
        raise BadBody(400, "label must be one of the model's classes, or null for none of them")
    return item_id, name
