"""The edge stands alone: nothing of training, torch or onnx, by its source and by its imports."""

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import edge

ROOT = Path(edge.__file__).resolve().parent
BUNDLED = ROOT.parent / "models" / "parts.onnx"
FORBIDDEN = {"training", "torch", "torchvision", "onnx", "onnxscript", "PIL"}
# What the default installation brings, by import name.
ALLOWED = {
    "cv2",
    "edge",
    "flask",
    "numpy",
    "onnxruntime",
    "prometheus_client",
    "pydantic",
    "rich",
    "waitress",
    "werkzeug",
}
# Only where the package is installed, each behind an import inside a function.
OPTIONAL = {"asyncua", "cryptography", "gi", "gpiozero", "openvino", "paho", "pymodbus"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_source_file_of_the_edge_imports_only_what_the_edge_installs(path: Path) -> None:
    strangers = imports(path) - ALLOWED - OPTIONAL - set(sys.stdlib_module_names)
    assert not strangers


def test_the_whole_edge_imports_where_training_and_torch_are_not_to_be_had() -> None:
    names = [m.name for m in pkgutil.walk_packages([str(ROOT)], "edge.") if not m.name.endswith("__main__")]
    code = f"""
import importlib, importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise ImportError(name + " is blocked by the test")
sys.meta_path.insert(0, Blocked())
for name in {names!r}:
    importlib.import_module(name)
loaded = {FORBIDDEN!r} & set(sys.modules)
assert not loaded, loaded
print("all", len({names!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("all ")
    assert {"edge.line", "edge.web", "edge.cli"} <= set(names)


def test_a_line_tells_nobody_of_itself(tmp_path: Path) -> None:
    """ONNX Runtime keeps what it means to report under the home folder, and looks up its makers' address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    code = f"from edge.engines import OnnxRuntime; OnnxRuntime(open({str(BUNDLED)!r}, 'rb').read())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False,
        cwd=ROOT.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*"))
