"""Which nodes of a graph suffer most from 8-bit integers, by ONNX Runtime's own tools for it.

onnxruntime.quantization.qdq_loss_debug compares a quantized graph with its float original, tensor by
tensor, as signal-to-quantization-noise ratios in decibels. Three things to know of it: it keeps every
tensor of every picture in memory, so a few pictures must do; it reads and writes files; and it wants
the float tensors even for an error that compares a tensor only with itself.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    compute_weight_error,
    create_activation_matching,
    create_weight_matching,
    modify_model_output_intermediate_tensors,
)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """A few batches, one at a time, in the form that ONNX Runtime asks for."""

    def __init__(self, name: str, batches: Sequence[np.ndarray]) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def most_sensitive(
    core: onnx.ModelProto, quantized: onnx.ModelProto, batches: Sequence[np.ndarray], kinds: Sequence[str]
) -> list[str]:
    """The names of a core's nodes of these kinds, the one that loses most first.

    A node loses as much as the worst of its tensors: what goes in, its weights, what comes out, each
    against the same values before they were rounded. batches are float32 [n, 3, H, W], few.
    """
    with TemporaryDirectory() as folder:
        plain, rounded, watched = (Path(folder) / name for name in ("float.onnx", "qdq.onnx", "watched.onnx"))
        plain.write_bytes(core.SerializeToString())
        rounded.write_bytes(quantized.SerializeToString())
        activations = []
        for path in (rounded, plain):
            modify_model_output_intermediate_tensors(path, watched)
            activations.append(collect_activations(str(watched), _Reader(core.graph.input[0].name, batches)))
        errors = compute_activation_error(create_activation_matching(*activations))
        decibels = {name: float(error["qdq_err"]) for name, error in errors.items()}
        weights = compute_weight_error(create_weight_matching(str(plain), str(rounded)))
        decibels |= {name: float(error) for name, error in weights.items()}
    worst = {
        node.name: min((decibels[name] for name in (*node.input, *node.output) if name in decibels), default=np.inf)
        for node in core.graph.node
        if node.op_type in kinds
    }
    return sorted((name for name, value in worst.items() if np.isfinite(value)), key=lambda name: worst[name])
