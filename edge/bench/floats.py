"""A network without the contract's front, fed ready-made floats: what pre-processing in the file is held against."""

from pathlib import Path

import numpy as np

from edge.bench.findings import Runs, timed_runs
from edge.engines import OnnxRuntime
from edge.errors import ModelError
from edge.graph import check_graph


class FloatNetwork:
    """An ONNX file with one float32 input, [N, 3, H, W] or [N, H, W, 3], on the processor with one thread.

    The core.onnx of a run folder is one, and so is what `sortline-train package` was given. Raises
    ModelError where the file is no such network of this height and width, in pixels.
    """

    def __init__(self, path: Path, height: int, width: int) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
        check_graph(data, path)
        try:
            self._session = OnnxRuntime(data).session
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None
        inputs = {node.name: (node.type, list(node.shape)) for node in self._session.get_inputs()}
        self._name, (kind, shape) = next(iter(inputs.items()))
        fits = [size for size in ([3, height, width], [height, width, 3]) if shape[1:] == size]
        if len(inputs) != 1 or kind != "tensor(float)" or not fits:
            raise ModelError(
                f"{path}: must have one input, float32 [N, 3, {height}, {width}]; it has "
                + ", ".join(f"{name}: {kind} {shape}" for name, (kind, shape) in inputs.items())
            )
        self._size = fits[0]

    def measure(self, runs: int, batch: int = 1) -> Runs:
        """So many inferences in a row, after two that do not count."""
        floats = np.random.default_rng(1).normal(0, 1, (batch, *self._size)).astype(np.float32)
        return timed_runs(lambda: self._session.run(None, {self._name: floats}), runs)
