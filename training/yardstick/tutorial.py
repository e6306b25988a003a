"""A server as tutorials write it: `python -m training.yardstick.tutorial PORT`."""

import io
import sys

import torch
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from PIL import Image
from torch import Tensor
from torchvision import transforms

from training.yardstick.network import CLASSES, SIZE, network


def tutorial() -> Flask:
    """A file from a form, PIL and transforms, torch in eager mode, JSON: Flask's own server runs it."""
    app = Flask(__name__)
    model = network()
    prepare = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(SIZE), transforms.ToTensor(), transforms.Lambda(_to_pixels)]
    )

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        if "file" not in request.files:
            return jsonify({"error": "No file part"}), 400
        picture = Image.open(io.BytesIO(request.files["file"].read())).convert("RGB")
        with torch.no_grad():
            logits, _ = model(prepare(picture).unsqueeze(0))
            confidence, best = torch.softmax(logits, 1)[0].max(0)
        return jsonify({"class": CLASSES[int(best)], "confidence": float(confidence)})

    return app


def _to_pixels(values: Tensor) -> Tensor:
    """ToTensor's 0 to 1 as the 0 to 255 that this network scales by itself."""
    return values * 255


if __name__ == "__main__":
    tutorial().run("127.0.0.1", int(sys.argv[1]))
