"""The closing table as a person reads it."""

import pytest

from edge.screen import print_summary

NO_TIME = {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_the_closing_table_of_a_run_that_ended_no_item_reads_as_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(
        {
            "outcomes": {}, "reasons": {}, "lanes": {}, "incidents": {}, "rows_lost": {},
            "latency_ms": NO_TIME, "lateness_ms": NO_TIME,
            "items": 0, "on_belt": 0, "frames": 1, "seconds": 0.1, "skipped": 0,
            "simulated": {"sort_accuracy": None, "items": 0, "misplaced": 0, "lanes": {}},
        }
    )  # fmt: skip
    (row,) = [text for text in capsys.readouterr().out.splitlines() if text.startswith("sort accuracy")]
    assert " ".join(row.split()) == "sort accuracy -, for no item has ended"


def test_rows_that_could_not_be_kept_stand_in_the_closing_table(capsys: pytest.CaptureFixture[str]) -> None:
    nothing: dict[str, object] = {name: {} for name in ("outcomes", "reasons", "lanes", "incidents")}
    counts = dict.fromkeys(("items", "on_belt", "frames", "skipped"), 0)
    times = {"latency_ms": NO_TIME, "lateness_ms": NO_TIME, "seconds": 0.1}
    print_summary({**nothing, **counts, **times, "rows_lost": {"journal": 0, "decisions": 27}})
    assert "rows lost decisions 27" in " ".join(capsys.readouterr().out.split())
