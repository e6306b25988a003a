"""The house's own rules: ruff and mypy find nothing, no module grows too long, the README's words are true."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for folder in ("edge", "training") for path in (ROOT / folder).rglob("*.py"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )


def test_ruff_finds_nothing() -> None:
    pytest.importorskip("ruff")
    done = run("ruff", "check", "--output-format", "concise", ".")
    assert done.returncode == 0, done.stdout
    done = run("ruff", "format", "--check", ".")
    assert done.returncode == 0, done.stdout


def test_mypy_finds_nothing() -> None:
    pytest.importorskip("mypy")
    pytest.importorskip("torch", reason="mypy needs the types of what training imports")
    done = run("mypy")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_stays_readable_in_one_sitting_and_says_its_job_first(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 470
    assert lines[0].startswith('"""')


def test_the_readme_prints_the_line_that_ci_runs() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert "<!-- the tests -->\n```" in text
    assert "README.md" in (ROOT / ".ci" / "run").read_text("utf-8")
