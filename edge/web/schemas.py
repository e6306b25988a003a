"""The shapes of what the web side answers, as JSON Schema: the components of /openapi.json."""

from typing import Any

Schema = dict[str, Any]


def schemas() -> Schema:
    """Every named shape."""
    text, number = {"type": "string"}, {"type": "number"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": text,
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": text,
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    return {
        "Error": {"type": "object", "required": ["error"], "properties": {"error": text}},
        "Prediction": {
            "type": "object",
            "required": [
                "class",
                "confidence",
                "probabilities",
                "lane",
                "reason",
                "strange",
                "threshold",
                "model",
                "latency_ms",
            ],
            "properties": {
                "class": {**text, "description": "The most probable class"},
                "confidence": {**share, "description": "Its probability, calibrated"},
                "probabilities": {"type": "object", "additionalProperties": share},
                "lane": {**text, "description": "Where the line would send it; the default lane when it is unsure"},
                "reason": {
                    "enum": ["classified", "unknown"],
                    "description": "unknown is what is strange, or has a confidence below the threshold",
                },
                "strange": {"type": "boolean", "description": "Whether it is unlike anything trained on"},
                "threshold": {**share, "description": "The least confidence at which the line sorts this class"},
                "model": {
                    "type": "object",
                    "required": ["name", "version", "sha256"],
                    "properties": {"name": text, "version": text, "sha256": text},
                },
                "latency_ms": {**number, "description": "Decoding and inference, in milliseconds"},
            },
        },
        "Predictions": {
            "type": "object",
            "required": ["predictions"],
            "properties": {"predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}},
        },
        "Readiness": {
            "type": "object",
            "required": ["status", "parts"],
            "properties": {
                "status": {"enum": ["ok", "failing"]},
                "failing": {"type": "array", "items": text},
                "parts": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["ok", "text"],
                        "properties": {"ok": {"type": "boolean"}, "text": text},
                    },
                },
            },
        },
        "History": {
            "type": "object",
            "required": ["from", "step_s", "lanes"],
            "properties": {
                "from": {"type": "integer", "description": "Seconds since 1970 at which the first step begins"},
                "step_s": {"type": "integer"},
                "lanes": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                },
            },
        },
        "ModelMetadata": {
            "type": "object",
            "required": ["name", "platform", "inputs", "outputs"],
            "properties": {
                "name": text,
                "versions": {"type": "array", "items": text},
                "platform": text,
                "inputs": {"type": "array", "items": tensor},
                "outputs": {"type": "array", "items": tensor},
            },
        },
        "InferRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": text,
                "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": tensor},
                "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
                "parameters": {"type": "object"},
            },
        },
        "InferAnswer": {
            "type": "object",
            "required": ["model_name", "outputs"],
            "properties": {
                "model_name": text,
                "model_version": text,
                "id": text,
                "outputs": {"type": "array", "items": tensor},
            },
        },
    }
