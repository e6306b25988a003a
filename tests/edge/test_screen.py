"""The closing table as a person reads it."""

import pytest

from edge.screen import print_summary

NO_TIME = {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_the_closing_table_of_a_run_that_ended_no_item_reads_as_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(
        {
            "outcomes": {}, "reasons": {}, "lanes": {}, "incidents": {}, "latency_ms": NO_TIME, "lateness_ms": NO_TIME,
            "items": 0, "on_belt": 0, "frames": 1, "seconds": 0.1, "skipped": 0,
            "simulated": {"sort_accuracy": None, "items": 0, "misplaced": 0, "lanes": {}},
        }
    )  # fmt: skip
    (row,) = [text for text in capsys.readouterr().out.splitlines() if text.startswith("sort accuracy")]
    assert " ".join(row.split()) == "sort accuracy -, for no item has ended"
