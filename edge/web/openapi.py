"""/openapi.json: what the web side answers, for people and for programs that write clients."""

from edge import __version__
from edge.config import LineConfig
from edge.model import ModelCard
from edge.web.arrival import MAX_BODY
from edge.web.bodies import CROP, MAX_PICTURES, MAX_TOP
from edge.web.inference import LENGTH, MAX_BATCH
from edge.web.openapi_line import line_paths
from edge.web.responses import call, errors, json_named, json_of
from edge.web.schemas import Schema, schemas


def openapi(card: ModelCard | None, config: LineConfig, with_token: bool) -> Schema:
    """The description of one line's web side, with examples of its own classes and lanes."""
    classes = card.classes if card else ("bolt", "nut")
    example = _example(classes, config)
    content: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "sortline",
            "version": __version__,
            "summary": "What a sorting line sees, and its model for pictures of your own",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [
            {"name": "pictures", "description": "The line's model, for any picture"},
            {"name": "line", "description": "What happens on the belt"},
            {"name": "health", "description": "For supervisors and monitoring"},
            {"name": "inference", "description": "The Open Inference Protocol, for clients of Triton and KServe"},
        ],
        "paths": {
            "/predict": {"post": _predict(example)},
            **_health(),
            **line_paths(),
            **_inference(card),
        },
        "components": {
            "schemas": schemas(),
            "responses": {
                "Error": json_named("A sentence that says what is wrong", "Error", {"error": "No file part"}),
                "Busy": {
                    **json_named("Come back later", "Error", {"error": "Too many pictures are waiting already"}),
                    "headers": {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}},
                },
            },
        },
    }
    if with_token:
        content["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        content["security"] = [{"token": []}]
        for path in content["paths"].values():
            for call in path.values():
                call["responses"]["401"] = {"$ref": "#/components/responses/Error"}
    return content


def _example(classes: tuple[str, ...], config: LineConfig) -> Schema:
    rest = round(0.03 / max(len(classes) - 1, 1), 6)
    return {
        "class": classes[0],
        "confidence": 0.97,
        "probabilities": {name: 0.97 if name == classes[0] else rest for name in classes},
        "lane": config.lane_of(classes[0]).name,
        "reason": "classified",
        "strange": False,
        "threshold": 0.5,
        "model": {"name": "parts", "version": "1", "sha256": "0" * 64},
        "latency_ms": 7.2,
    }


def _predict(example: Schema) -> Schema:
    picture = {"schema": {"type": "string", "contentMediaType": "image/*"}}
    several = {
        "type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": MAX_PICTURES,
    }  # fmt: skip
    base64 = {"type": "string", "contentEncoding": "base64", "description": "May begin with data:image/...;base64,"}
    either = {"oneOf": [{"$ref": "#/components/schemas/Prediction"}, {"$ref": "#/components/schemas/Predictions"}]}
    return {
        "tags": ["pictures"],
        "operationId": "predict",
        "summary": "Says what a picture shows",
        "description": (
            f"JPEG, PNG, WebP, BMP or TIFF, at most {MAX_BODY >> 20} MB a call and {MAX_PICTURES} pictures. "
            "EXIF orientation is applied; several pictures are answered from one inference, in order."
        ),
        "parameters": [
            {
                "name": "top",
                "in": "query",
                "description": "Only so many classes, the most probable first",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TOP},
            },
            {
                "name": "crop",
                "in": "query",
                "description": "The part of the picture to look at: x,y,width,height in pixels",
                "schema": {"type": "string", "pattern": f"^{CROP}$"},
                "example": "10,20,200,200",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {"file": several},
                    }
                },
                "image/jpeg": picture,
                "image/png": picture,
                "image/webp": picture,
                "image/bmp": picture,
                "image/tiff": picture,
                "application/octet-stream": picture,
                "application/json": {
                    "schema": {
                        "anyOf": [
                            {"type": "object", "required": ["image"], "properties": {"image": base64}},
                            {
                                "type": "object",
                                "required": ["images"],
                                "properties": {
                                    "images": {
                                        "type": "array", "items": base64, "minItems": 1, "maxItems": MAX_PICTURES,
                                    }
                                },
                            },
                        ]
                    },
                    "example": {"image": "/9j/4AAQSkZJRg..."},
                },
            },
        },
        "responses": {
            "200": {
                "description": "One answer, or one a picture where several were sent",
                "content": {
                    "application/json": {
                        "schema": either,
                        "examples": {
                            "one": {"value": example},
                            "several": {"value": {"predictions": [example, example]}},
                        },
                    }
                },
            },
            **errors("400", "403", "413", "415", "421", "422"),
            "503": {"$ref": "#/components/responses/Busy"},
        },
    }  # fmt: skip


def _health() -> Schema:
    status = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    readiness = json_of("Every part is well", {"$ref": "#/components/schemas/Readiness"})
    return {
        "/healthz": {
            "get": call("health", "healthz", "Whether the process lives", {"200": json_of("It does", status)})
        },
        "/readyz": {
            "get": call(
                "health", "readyz", "Whether camera, model, outputs and the line itself are well",
                {"200": readiness, "503": {**readiness, "description": "Which part is not"}},
            )
        },
        "/metrics": {
            "get": call(
                "health", "metrics", "Metrics for Prometheus",
                {"200": {"description": "Text format", "content": {"text/plain": {"schema": {"type": "string"}}}}},
            )
        },
        "/openapi.json": {
            "get": call("health", "openapi", "This description", {"200": json_of("OpenAPI", {"type": "object"})})
        },
    }  # fmt: skip


def _inference(card: ModelCard | None) -> Schema:
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    if card:
        model["example"] = card.name
    described = json_of("What the model takes and gives", {"$ref": "#/components/schemas/ModelMetadata"})
    any_object = {"type": "object"}
    shape = [-1, card.height, card.width, 3] if card else [-1, 224, 224, 3]
    size = shape[1] * shape[2] * shape[3]
    infer = {
        **call(
            "inference", "infer", f"Runs the model on 1 to {MAX_BATCH} pictures of {shape[1]} x {shape[2]} pixels",
            {
                "200": {
                    "description": "JSON, or JSON followed by tensors where binary outputs were asked for",
                    "headers": {LENGTH: {"description": "Length of the JSON part", "schema": {"type": "integer"}}},
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/InferAnswer"}},
                        "application/octet-stream": {"schema": {"type": "string"}},
                    },
                },
                **errors("400", "403", "404", "413", "415"),
                "503": {"$ref": "#/components/responses/Busy"},
            },
        ),
        "parameters": [
            model,
            {
                "name": LENGTH, "in": "header", "schema": {"type": "integer", "minimum": 0},
                "description": "Length of the JSON part, when tensors follow it as bytes",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/InferRequest"},
                    "examples": {
                        "binary": {
                            "summary": f"The JSON part, before {size} bytes of pixels; {LENGTH} says where they begin",
                            "value": {
                                "inputs": [
                                    {
                                        "name": "pixels", "datatype": "UINT8", "shape": [1, *shape[1:]],
                                        "parameters": {"binary_data_size": size},
                                    }
                                ]
                            },
                        }
                    },
                },
                "application/octet-stream": {"schema": {"type": "string"}},
            },
        },
    }  # fmt: skip
    return {
        "/v2": {"get": call("inference", "server", "The server", {"200": json_of("Its name", any_object)})},
        "/v2/health/live": {
            "get": call("inference", "live", "Whether it lives", {"200": json_of("It does", any_object)})
        },
        "/v2/health/ready": {
            "get": call(
                "inference", "ready", "Whether the model is loaded",
                {"200": json_of("It is", any_object), "503": json_of("It is not", any_object)},
            )
        },
        "/v2/repository/index": {
            "post": call(
                "inference", "index", "The models there are",
                {"200": json_of("One", {"type": "array", "items": any_object}), **errors("403")},
            )
        },
        "/v2/models/{model}": {
            "get": {
                **call("inference", "model", "The model's inputs and outputs", {"200": described, **errors("404")}),
                "parameters": [model],
            }
        },
        "/v2/models/{model}/ready": {
            "get": {
                **call(
                    "inference", "model_ready", "Whether a model can be used",
                    {"200": json_of("It can", any_object), **errors("404")},
                ),
                "parameters": [model],
            }
        },
        "/v2/models/{model}/infer": {"post": infer},
    }  # fmt: skip
