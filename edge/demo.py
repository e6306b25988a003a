"""The demo's line: a simulated belt, the bundled model, three diverters and a bin for the rest."""

import socket
from pathlib import Path

from edge.config import LineConfig
from edge.errors import ModelError

LARGEST_MM = 62  # the simulated belt's parts are at most 58 mm long; what is longer than this is two that touch


def bundled_model() -> Path:
    """The model that ships: inside the installed package, or in the checkout's models/ folder."""
    here = Path(__file__).resolve().parent
    for folder in (here / "models", here.parent / "models"):
        if (folder / "parts.onnx").is_file():
            return folder / "parts.onnx"
    raise ModelError("models/parts.onnx: the bundled model is not installed; reinstall sortline")


def demo_config(source: str, host: str, port: int | None, headless: bool, insecure: bool) -> LineConfig:
    """The demo as a configuration. Without a port: 8080, or a free one when that is taken."""
    return LineConfig.parse(
        {
            "model": {"path": str(bundled_model())},
            "camera": {"source": source},
            "belt": {"direction": "right", "pixels_per_mm": 1.6, "speed_mm_s": 500},
            "items": {"max_mm": LARGEST_MM},
            "lanes": [
                {"name": "screws", "classes": ["bolt", "screw"], "output": "gate_1", "distance_mm": 560},
                {"name": "rings", "classes": ["nut", "washer"], "output": "gate_2", "distance_mm": 680},
                {"name": "gears", "classes": ["gear"], "output": "gate_3", "distance_mm": 800},
                {"name": "reject", "default": True},
            ],
            "outputs": {f"gate_{n}": {"type": "log", "pulse_ms": 10} for n in (1, 2, 3)},
            "web": {
                "enabled": not headless,
                "host": host,
                "port": _free(host) if port is None else port,
                "insecure": insecure,
            },
        },
        Path("demo"),
    )


def _free(host: str, wanted: int = 8080) -> int:
    """The usual port, or 0 (the system chooses one) when another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError:
            return 0
    return wanted
