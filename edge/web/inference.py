"""/v2: the Open Inference Protocol over HTTP, so that clients of Triton and KServe can use the line's model.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and the
binary tensor extension, https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import json
from typing import Any

import numpy as np
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound, ServiceUnavailable

from edge import __version__
from edge.model import Classifier
from edge.web.bodies import BadBody, check_coding, whole_number
from edge.web.predict import Predictor

LENGTH = "Inference-Header-Content-Length"
MAX_BATCH = 32
FEATURES = "features"


def add_inference(app: Flask, predictor: Predictor | None) -> None:
    """Adds /v2 to an app; predictor answers (None: no model is loaded)."""

    def classifier(name: str, version: str | None) -> Classifier:
        if predictor is None:
            raise ServiceUnavailable("The model file cannot be loaded; the log says why")
        card = predictor.classifier.card
        if name != card.name or version not in (None, card.version):
            raise NotFound("There is no such model, or no such version of it; POST /v2/repository/index lists them")
        return predictor.classifier

    @app.get("/v2")
    def v2_server() -> ResponseReturnValue:
        return jsonify({"name": "sortline", "version": __version__, "extensions": ["binary_tensor_data"]})

    @app.get("/v2/health/live")
    def v2_live() -> ResponseReturnValue:
        return jsonify({"live": True})

    @app.get("/v2/health/ready")
    def v2_ready() -> ResponseReturnValue:
        return jsonify({"ready": predictor is not None}), 200 if predictor else 503

    @app.post("/v2/repository/index")
    def v2_index() -> ResponseReturnValue:
        if predictor is None:
            return jsonify([])
        card = predictor.classifier.card
        return jsonify([{"name": card.name, "version": card.version, "state": "READY", "reason": ""}])

    @app.get("/v2/models/<name>")
    @app.get("/v2/models/<name>/versions/<version>")
    def v2_model(name: str, version: str | None = None) -> ResponseReturnValue:
        return jsonify(metadata(classifier(name, version)))

    @app.get("/v2/models/<name>/ready")
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def v2_model_ready(name: str, version: str | None = None) -> ResponseReturnValue:
        card = classifier(name, version).card
        return jsonify({"name": card.name, "ready": True})

    @app.post("/v2/models/<name>/infer")
    @app.post("/v2/models/<name>/versions/<version>/infer")
    def v2_infer(name: str, version: str | None = None) -> ResponseReturnValue:
        model = classifier(name, version)
        assert predictor is not None
        check_coding(request)
        asked, tensors = _split(request.get_data(cache=False), request.headers.get(LENGTH))
        pixels = _pixels(asked, tensors, model)
        probabilities, features = predictor.run(pixels)
        found = {"probabilities": probabilities} | ({} if features is None else {FEATURES: features})
        return _answer(asked, found, model)


def metadata(classifier: Classifier) -> dict[str, Any]:
    """What the model takes and gives, as the protocol describes it."""
    card = classifier.card
    outputs: list[dict[str, Any]] = [{"name": "probabilities", "datatype": "FP32", "shape": [-1, len(card.classes)]}]
    _, features = classifier.run(np.zeros((1, card.height, card.width, 3), np.uint8))
    if features is not None:
        outputs.append({"name": FEATURES, "datatype": "FP32", "shape": [-1, *features.shape[1:]]})
    return {
        "name": card.name,
        "versions": [card.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, card.height, card.width, 3]}],
        "outputs": outputs,
        "parameters": {"classes": list(card.classes), "sha256": classifier.sha256},
    }


def _split(body: bytes, length: str | None) -> tuple[dict[str, Any], memoryview]:
    """A request's JSON and the tensors behind it; without the length header all of it is JSON."""
    end = len(body) if length is None else whole_number(length, len(body))
    if end is None:
        raise BadBody(400, f"{LENGTH} must be the length of the JSON part, at most that of the body")
    try:
        asked = json.loads(body[:end])
    except (ValueError, RecursionError):
        raise BadBody(400, "The request is not JSON") from None
    if not isinstance(asked, dict):
        raise BadBody(400, "The request must be a JSON object")
    return asked, memoryview(body)[end:]


def _pixels(asked: dict[str, Any], tensors: memoryview, classifier: Classifier) -> np.ndarray:
    """The one input of a request, uint8 [N, H, W, 3]."""
    card = classifier.card
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadBody(400, "inputs must hold exactly one tensor, pixels")
    given = inputs[0]
    if given.get("name") != "pixels" or given.get("datatype") != "UINT8":
        raise BadBody(400, "The input must be named pixels and be of datatype UINT8")
    shape = given.get("shape")
    wanted = [card.height, card.width, 3]
    if not isinstance(shape, list) or len(shape) != 4 or shape[1:] != wanted or type(shape[0]) is not int:
        raise BadBody(400, f"pixels must have the shape [N, {card.height}, {card.width}, 3]")
    if not 1 <= shape[0] <= MAX_BATCH:
        raise BadBody(400, f"pixels must hold 1 to {MAX_BATCH} pictures; these are {shape[0]}")
    size = int(np.prod(shape))
    parameters = given.get("parameters") or {}
    if isinstance(parameters, dict) and "binary_data_size" in parameters:
        if parameters["binary_data_size"] != size or tensors.nbytes != size:
            raise BadBody(400, f"pixels needs {size} bytes of binary data; there are {tensors.nbytes}")
        return np.frombuffer(tensors, np.uint8).reshape(shape)
    try:
        values = np.asarray(given.get("data"))
    except ValueError:  # rows of different lengths
        values = np.empty(0, object)
    if values.dtype.kind not in "iu" or values.size != size or values.min() < 0 or values.max() > 255:
        raise BadBody(400, f"pixels' data must be {size} whole numbers from 0 to 255, flat or nested")
    return values.astype(np.uint8).reshape(shape)


def _answer(asked: dict[str, Any], found: dict[str, np.ndarray], classifier: Classifier) -> Response:
    """The outputs that were asked for (all, if none were), each as JSON or as bytes behind it."""
    parameters = asked.get("parameters")
    all_binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    described, behind = [], []
    for name, binary in _wanted(asked, found, all_binary):
        values = np.ascontiguousarray(found[name], np.float32)
        one: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
        if binary:
            behind.append(values.astype("<f4").tobytes())
            one["parameters"] = {"binary_data_size": values.nbytes}
        else:
            one["data"] = values.ravel().tolist()
        described.append(one)
    card = classifier.card
    content: dict[str, Any] = {"model_name": card.name, "model_version": card.version, "outputs": described}
    if isinstance(asked.get("id"), str):
        content["id"] = asked["id"][:200]
    header = json.dumps(content).encode()
    if not behind:
        return Response(header, mimetype="application/json")
    response = Response(b"".join([header, *behind]), mimetype="application/octet-stream")
    response.headers[LENGTH] = str(len(header))
    return response


def _wanted(asked: dict[str, Any], found: dict[str, np.ndarray], all_binary: bool) -> list[tuple[str, bool]]:
    outputs = asked.get("outputs")
    if outputs is None:
        return [(name, all_binary) for name in found]
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise BadBody(400, "outputs must be a list of objects")
    wanted = []
    for one in outputs:
        name, parameters = one.get("name"), one.get("parameters") or {}
        if not isinstance(name, str) or name not in found or not isinstance(parameters, dict):
            raise BadBody(400, f"outputs may name: {', '.join(found)}")
        if "classification" in parameters:
            raise BadBody(400, "The classification extension is not spoken here; POST /predict gives class names")
        wanted.append((name, bool(parameters.get("binary_data", all_binary))))
    return wanted
