"""ONNX Runtime on a graph that is still in the making: before it has the contract's two ends and a card."""

from typing import Any

import onnx
import onnxruntime as ort


def session_of(model: onnx.ModelProto, as_written: bool = False) -> Any:
    """A session on the CPU; as_written runs every node by itself, quantized ones in float with their exact values."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if as_written:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
