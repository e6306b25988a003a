"""The daemon beside the belt: sees each item, decides its lane, fires the diverter in time."""

import os

__version__ = "0.1.0"

# From 1.32 on ONNX Runtime keeps an identity of the machine, notes every session and reports both to its makers.
# It looks for this as it is imported, so it must stand here, before any import of it; a line tells nobody of itself.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
