"""What runs a model file: ONNX Runtime with one of its providers, or OpenVINO itself.

OpenVINO is asked directly and not through ONNX Runtime's provider for it: that one comes in a package
that overwrites the files of ONNX Runtime, lags months behind it, and is no faster (measured).
"""

import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
import onnxruntime as ort

from edge.bounded import within
from edge.errors import ModelError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
OPENVINO = "openvino"
REASON_LENGTH = 200
Outputs = Sequence[np.ndarray]


class Engine(Protocol):
    """A model ready to run; thread-safe."""

    provider: str
    threads: int

    def run(self, pixels: np.ndarray) -> Outputs:
        """The graph's outputs in its own order, from uint8 [N, H, W, 3]."""


def installed() -> tuple[str, ...]:
    """The engines that this installation has, by the names that the configuration uses; `cpu` is the first."""
    available = ort.get_available_providers()
    names = [name for name, provider in PROVIDERS.items() if provider in available]
    if find_spec("openvino") is not None:
        names.insert(1, OPENVINO)
    return tuple(names)


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_engine(data: bytes, provider: str, threads: int = 1, parallel: int = 1) -> Engine:
    """An engine for the bytes of a model file.

    threads work on one call; parallel is how many calls may come at once. Raises ModelError, with the
    engine's own reason, when it cannot load the file.
    """
    if provider not in installed():
        raise ModelError(f"model.provider {provider!r} is not installed here (installed: {', '.join(installed())})")
    if provider == OPENVINO:
        return OpenVino(data, threads, parallel)
    return OnnxRuntime(data, provider, threads)


class OnnxRuntime:
    """A session of ONNX Runtime on one provider."""

    def __init__(self, data: bytes, provider: str = "cpu", threads: int = 1) -> None:
        self.provider, self.threads = provider, threads
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take a whole core from the line on a small machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 4
        # Its own fallback would print to the screen and try once more, with another provider.
        self.session = _or_reason(
            lambda: ort.InferenceSession(data, options, providers=[PROVIDERS[provider]], enable_fallback=0)
        )
        if PROVIDERS[provider] not in self.session.get_providers():
            # It goes back to the processor by itself, with no more than a line in the log.
            raise ModelError(f"the provider {provider!r} is installed but cannot be used on this machine")

    def run(self, pixels: np.ndarray) -> Outputs:
        return self.session.run(None, {"pixels": pixels})


class OpenVino:
    """A model compiled by OpenVINO for the processor, at the precision that it finds best there."""

    def __init__(self, data: bytes, threads: int = 1, parallel: int = 1) -> None:
        # Its import would start a thread that reports to its makers; a line tells nobody of itself.
        sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
        import openvino

        self.provider, self.threads = OPENVINO, threads
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads * parallel,
            "NUM_STREAMS": parallel,
        }

        def compiled() -> Any:
            core = openvino.Core()
            return core.compile_model(core.read_model(data), "CPU", settings)

        # OpenVINO gives the thread that asks it first a signal stack of its own making and takes that away with the
        # model. If the line's main thread were that one, and another let the model go, the next Ctrl-C would be
        # handled where no memory is any more: the process dies of it. A thread that has ended handles no signals.
        self._model = _or_reason(lambda: within(None, compiled, "OpenVINO"))
        # A request holds the buffers of one call, so each thread that calls has one of its own.
        self._own = threading.local()

    def run(self, pixels: np.ndarray) -> Outputs:
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._model.create_infer_request()
        return tuple(request.infer({"pixels": pixels}, share_inputs=True).values())


def _or_reason(load: Callable[[], Any]) -> Any:
    try:
        return load()
    except UnicodeDecodeError:  # a name or a card that is no text: the caller knows what to say of it
        raise
    except Exception as error:  # ONNX Runtime and OpenVINO raise their own classes, which share no public base
        raise ModelError(f"is not an ONNX model that can be loaded ({reason_of(error)})") from None


def reason_of(error: Exception) -> str:
    """What an engine said, on one line of bounded length, without the places and signatures of its own source."""
    words = " ".join(str(error).split())
    words = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", words)
    return re.sub(r"/onnxruntime_src/\S+ [^()]*\([^()]*\)(?: const)? ", "", words)[:REASON_LENGTH]
