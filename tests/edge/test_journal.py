"""The journal: everything written down, and a full disk that never stops sorting."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.journal import Journal
from edge.records import Actuation, Box, Decision, Incident


def decision(item_id: int) -> Decision:
    return Decision(item_id, "good", "bolt", 0.9, {"bolt": 0.9}, "classified", 3, 1.0, 1.1, 1.5, 9.0, Box(1, 2, 3, 4))


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as database:
        return list(database.execute(f"SELECT * FROM {table}"))


def test_what_is_told_stands_in_both_files_after_the_stop(tmp_path: Path) -> None:
    lines = tmp_path / "decisions.jsonl"
    journal = Journal(tmp_path / "line.db", lines, ("m 1", "abc"), lambda recovered, cause: None)
    for n in range(100):
        journal.decided(decision(n))
        journal.ended(n, "fired", 2.0)
    journal.fired(Actuation(1, "good", "gate", 9.0, 1.0, 9.0, decision(1)), 1.5)
    journal.incident(Incident("camera_lost", "camera", 1.0, 2.0, "unplugged", "trying again"))
    journal.stop()
    assert len(rows(tmp_path / "line.db", "decisions")) == 100
    assert len(rows(tmp_path / "line.db", "endings")) == 100
    assert rows(tmp_path / "line.db", "actuations")[0][1:5] == (1, "good", "gate", 9.0)
    assert rows(tmp_path / "line.db", "incidents")[0][1] == "camera_lost"
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [one["item_id"] for one in written] == list(range(100))
    assert written[0]["box"] == {"x": 1, "y": 2, "width": 3, "height": 4}
    assert {one["model_sha256"] for one in written} == {"abc"}
    assert rows(tmp_path / "line.db", "runs")[0][2:] == ("m 1", "abc")


def test_two_runs_share_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path / "line.db", None, ("m 1", "abc"), lambda recovered, cause: None)
        journal.decided(decision(1))
        journal.stop()
    assert [row[0] for row in rows(tmp_path / "line.db", "decisions")] == [1, 2]


def test_a_disk_that_refuses_is_told_once_and_the_rows_arrive_when_it_takes_them_again(tmp_path: Path) -> None:
    told: list[tuple[bool, str]] = []
    path = tmp_path / "line.db"
    journal = Journal(path, None, ("m 1", "abc"), lambda *said: told.append(said), threaded=False)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")  # as a full disk does, it lets nobody write
    journal.decided(decision(1))
    journal.tick()
    assert [recovered for recovered, _ in told] == [False]
    assert "line.db: cannot be written" in told[0][1]
    blocker.execute("ROLLBACK")
    blocker.close()
    journal.tick()
    assert [recovered for recovered, _ in told] == [False, True]
    journal.stop()
    assert len(rows(path, "decisions")) == 1


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--decisions .*nowhere"):
        Journal(None, tmp_path / "nowhere" / "d.jsonl", ("", ""), lambda recovered, cause: None)
    (tmp_path / "text.db").write_text("this is not a database, whatever its name says " * 40)
    with pytest.raises(ConfigError, match=r"journal.path = .*text.db.*cannot be opened as a SQLite file"):
        Journal(tmp_path / "text.db", None, ("", ""), lambda recovered, cause: None)


def test_a_journal_of_an_earlier_version_goes_on_and_tells_a_stranger_from_what_is_unsure(tmp_path: Path) -> None:
    path = tmp_path / "line.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE decisions (run INTEGER, item_id INTEGER, lane TEXT, label TEXT, confidence REAL, reason TEXT,"
            " frame_seq INTEGER, captured_at REAL, decided_at REAL, fire_at REAL, position_mm REAL, box TEXT,"
            " probabilities TEXT, PRIMARY KEY (run, item_id)) WITHOUT ROWID"
        )
    journal = Journal(path, None, ("m 1", "abc"), lambda recovered, cause: None)
    journal.decided(replace(decision(1), reason="unknown", strange=True))
    journal.decided(replace(decision(2), reason="unknown"))
    journal.stop()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT item_id, strange FROM decisions").fetchall() == [(1, 1), (2, 0)]
