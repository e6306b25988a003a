"""The part of /openapi.json that is about the line: the page's own calls, for whoever builds another page."""

from edge.web.responses import call, errors, json_of
from edge.web.schemas import Schema


def line_paths() -> Schema:
    """Its paths, each with its calls."""
    jpeg = {"content": {"image/jpeg": {"schema": {"type": "string", "contentMediaType": "image/jpeg"}}}}
    number = {"in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
    command = {
        "oneOf": [
            {
                "type": "object",
                "required": ["command", key],
                "additionalProperties": False,
                "properties": {"command": {"const": name}, key: {"type": "boolean"}},
            }
            for name, key in (("pause", "paused"), ("arm", "armed"))
        ]
    }
    word = {
        "type": "object",
        "required": ["item_id", "label"],
        "additionalProperties": False,
        "properties": {
            "item_id": {"type": "integer", "minimum": 0},
            "label": {"type": ["string", "null"], "description": "A class of the model's, or null for none of them"},
        },
    }
    edge = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"age_ms": {"type": "number", "minimum": 0, "maximum": 5000, "default": 0}},
    }
    sent = json_of("Handed to the line", {"type": "object"})
    return {
        "/state.json": {
            "get": call(
                "line", "state", "Everything the live page begins with", {"200": json_of("It", {"type": "object"})}
            )
        },
        "/history.json": {
            "get": {
                **call(
                    "line", "history", "Items a lane, ten minutes by ten minutes, from the journal",
                    {"200": json_of("Counts, the oldest first", {"$ref": "#/components/schemas/History"}),
                     **errors("400")},
                ),
                "parameters": [
                    {"name": "hours", "in": "query", "schema": {"enum": ["1", "8", "24"], "default": "8"}}
                ],
            }
        },
        "/events": {
            "get": call(
                "line", "events", "The line as server-sent events: hello, state, decision, incident, picture",
                {
                    "200": {
                        "description": "A stream without end",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    },
                    "503": {"$ref": "#/components/responses/Busy"},
                },
            )
        },
        "/picture.jpg": {
            "get": call(
                "line", "picture", "The newest picture of the belt",
                {
                    "200": {
                        "description": "At most 960 pixels wide",
                        "headers": {
                            "Sortline-Picture": {
                                "description": "JSON: seq, position_mm, full (width, height), items with boxes",
                                "schema": {"type": "string"},
                            }
                        },
                        **jpeg,
                    },
                    "503": {"$ref": "#/components/responses/Busy"},
                },
            )
        },
        "/crops/{item}.jpg": {
            "get": {
                **call(
                    "line", "crop", "What one of the last items looked like",
                    {"200": {"description": "At most 128 pixels a side", **jpeg}, **errors("404")},
                ),
                "parameters": [{"name": "item", **number}],
            }
        },
        "/commands": {
            "post": {
                **call(
                    "line", "command", "Pauses or resumes sorting; arms or disarms the outputs",
                    {"202": sent, **errors("400", "403", "413", "415")},
                ),
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": command, "example": {"command": "pause", "paused": True}}
                    },
                },
            }
        },
        "/labels": {
            "post": {
                **call(
                    "line", "label", "Says what one of the last items really is, and keeps its picture",
                    {"202": sent, **errors("400", "403", "404", "413", "415")},
                ),
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": word, "example": {"item_id": 412, "label": "bolt"}}},
                },
            }
        },
        "/shadow.json": {
            "get": call(
                "line", "shadow", "What the shadow model would have decided",
                {"200": json_of("Counts, and the newest items that it would have sent elsewhere", {"type": "object"}),
                 **errors("404")},
            )
        },
        "/eyes/{name}": {
            "post": {
                **call(
                    "line", "eye", "Tells that an item has broken the beam of a photo-eye of type http",
                    {"202": sent, **errors("400", "403", "404", "413", "415")},
                ),
                "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": edge, "example": {"age_ms": 4}}},
                },
            }
        },
        "/incidents/{number}/clear": {
            "post": {
                **call(
                    "line", "clear_incident", "Marks an incident as seen to",
                    {"200": json_of("Done", {"type": "object"}), **errors("403", "404")},
                ),
                "parameters": [{"name": "number", **number}],
            }
        },
    }  # fmt: skip
