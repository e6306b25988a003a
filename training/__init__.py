"""The training side: pictures in, one self-describing ONNX file out."""

import os

# As in edge/__init__.py: ONNX Runtime would report to its makers, and MLflow to its own; each must find this early.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
