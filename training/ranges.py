"""How large the values of each tensor get, and which part of that a scale of 256 steps should cover."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from training.sessions import session_of

BINS = 2048
SAMPLES = 1 << 16  # of one tensor in one batch; the range is of all its values

Range = tuple[float, float]


@dataclass
class Histogram:
    """The values of one tensor: counts, int64 [BINS], between its lowest and its highest value."""

    low: float
    high: float
    counts: np.ndarray

    @property
    def edges(self) -> np.ndarray:
        return np.linspace(self.low, self.high, BINS + 1)


def minmax(values: Histogram) -> Range:
    """All values that occurred."""
    return values.low, values.high


def percentile(values: Histogram, kept: float = 0.9999) -> Range:
    """The middle of the values, without the outermost ten-thousandth: rare spikes do not coarsen the rest."""
    share = np.cumsum(values.counts) / values.counts.sum()
    first = int(np.searchsorted(share, (1 - kept) / 2))
    last = int(np.searchsorted(share, (1 + kept) / 2))
    return min(float(values.edges[first]), 0.0), max(float(values.edges[min(last + 1, BINS)]), 0.0)


def entropy(values: Histogram) -> Range:
    """The clipping at which the quantized values tell least apart from the real ones.

    The threshold on |value| with the smallest Kullback-Leibler divergence between the clipped
    distribution and its quantized form: Migacz, "8-bit inference with TensorRT", GTC 2017.
    """
    middles = (values.edges[:-1] + values.edges[1:]) / 2
    largest = max(abs(values.low), abs(values.high))
    counts, edges = np.histogram(np.abs(middles), BINS, (0, largest), weights=values.counts)
    counts[0] = counts[1]  # zeros are exact at any scale, and so many that they would drown the rest
    if not counts.any():
        return values.low, values.high
    levels = 256 if values.low >= 0 else 128
    best, threshold = np.inf, largest
    for size in range(levels, BINS + 1, 16):
        real = counts[:size].copy()
        real[-1] += counts[size:].sum()
        starts = np.linspace(0, size, levels, endpoint=False).astype(int)
        group = np.repeat(np.arange(levels), np.diff([*starts, size]))
        filled = counts[:size] > 0
        in_group = np.bincount(group, filled, levels)
        quantized = np.where(filled, (np.bincount(group, counts[:size], levels) / np.maximum(in_group, 1))[group], 0)
        real, quantized = real / real.sum(), quantized / max(quantized.sum(), 1)
        seen = real > 0
        divergence = float((real[seen] * np.log(real[seen] / np.maximum(quantized[seen], 1e-9))).sum())
        if divergence < best:
            best, threshold = divergence, float(edges[size])
    return max(values.low, -threshold), min(values.high, threshold)


METHODS: dict[str, Callable[[Histogram], Range]] = {"minmax": minmax, "percentile": percentile, "entropy": entropy}


def observe(core: onnx.ModelProto, batches: Iterable[np.ndarray]) -> dict[str, Histogram]:
    """Runs float32 [n, 3, H, W] batches through a core and histograms every tensor in it, twice: range, then counts.

    ONNX Runtime's own calibrators keep every value of every tensor in memory until the end, and run
    anew for each method; this keeps one histogram a tensor, for all methods.
    """
    model = onnx.ModelProto()
    model.CopyFrom(core)
    outputs = {output.name for output in model.graph.output}
    inside = [name for node in model.graph.node for name in node.output if name and name not in outputs]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inside)
    session = session_of(model)
    names = [session.get_inputs()[0].name, *(output.name for output in session.get_outputs())]

    def values() -> Iterator[tuple[str, np.ndarray]]:
        for batch in batches:
            for name, value in zip(names, [batch, *session.run(None, {names[0]: batch})], strict=True):
                if value.dtype == np.float32:
                    yield name, value

    ranges: dict[str, Range] = {}
    for name, value in values():
        low, high = ranges.get(name, (0.0, 0.0))  # zero must always be a value that can be written
        ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    histograms = {
        name: Histogram(low, high if high > low else low + 1e-6, np.zeros(BINS, np.int64))
        for name, (low, high) in ranges.items()
    }
    for name, value in values():
        into = histograms[name]
        some = value.reshape(-1)[:: value.size // SAMPLES | 1]  # an odd step meets every channel
        into.counts += np.histogram(some, BINS, (into.low, into.high))[0]
    return histograms
