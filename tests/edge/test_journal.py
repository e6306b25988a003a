"""The journal: everything written down, and a full disk that never stops sorting."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import ConfigError, SortlineError
from edge.journal import Journal
from edge.records import Actuation, Box, Decision, Incident


def decision(item_id: int) -> Decision:
    return Decision(item_id, "good", "bolt", 0.9, {"bolt": 0.9}, "classified", 3, 1.0, 1.1, 1.5, 9.0, Box(1, 2, 3, 4))


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as database:
        return list(database.execute(f"SELECT * FROM {table}"))


def test_what_is_told_stands_in_both_files_after_the_stop(tmp_path: Path) -> None:
    lines = tmp_path / "decisions.jsonl"
    journal = Journal(tmp_path / "line.db", lines, ("m 1", "abc"), lambda *said: None)
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
        journal = Journal(tmp_path / "line.db", None, ("m 1", "abc"), lambda *said: None)
        journal.decided(decision(1))
        journal.stop()
    assert [row[0] for row in rows(tmp_path / "line.db", "decisions")] == [1, 2]


def test_a_disk_that_refuses_is_told_once_and_the_rows_arrive_when_it_takes_them_again(tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []
    path = tmp_path / "line.db"
    journal = Journal(path, None, ("m 1", "abc"), lambda *said: told.append(said), threaded=False)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")  # as a full disk does, it lets nobody write
    journal.decided(decision(1))
    journal.tick()
    assert told == [("journal_failed", False, f"{path}: cannot be written (database is locked)")]
    blocker.execute("ROLLBACK")
    blocker.close()
    journal.tick()
    assert [recovered for _, recovered, _ in told] == [False, True]
    journal.stop()
    assert len(rows(path, "decisions")) == 1


@pytest.mark.parametrize("trouble", ["a full disk", "a file that another program holds"])
def test_a_line_that_starts_while_its_disk_refuses_sorts_and_its_rows_arrive_later(
    tmp_path: Path, trouble: str
) -> None:
    told: list[tuple[object, ...]] = []
    path = tmp_path / "line.db"
    Journal(path, None, ("m 1", "abc"), lambda *said: None).stop()
    blocker = sqlite3.connect(path, isolation_level=None)
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    if trouble == "a full disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, allowed[1]))
    else:
        blocker.execute("BEGIN EXCLUSIVE")
    try:
        journal = Journal(path, None, ("m 2", "abc"), lambda *said: told.append(said), threaded=False)
        journal.tick()  # with no item yet
        journal.decided(decision(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        blocker.close()
    assert [(name, recovered) for name, recovered, _ in told] == [("journal_failed", False)]
    journal.tick()
    journal.stop()
    assert [(name, recovered) for name, recovered, _ in told[1:]] == [("journal_failed", True)]
    assert [row[2] for row in rows(path, "runs")] == ["m 1", "m 2"]
    assert [row[:2] for row in rows(path, "decisions")] == [(2, 1)]
    assert journal.lost == {"journal": 0}


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--decisions .*nowhere"):
        Journal(None, tmp_path / "nowhere" / "d.jsonl", ("", ""), lambda *said: None)
    (tmp_path / "text.db").write_text("this is not a database, whatever its name says " * 40)
    with pytest.raises(ConfigError, match=r"journal.path = .*text.db.*cannot be opened as a SQLite file"):
        Journal(tmp_path / "text.db", None, ("", ""), lambda *said: None)


def test_a_journal_of_an_earlier_version_goes_on_and_tells_a_stranger_from_what_is_unsure(tmp_path: Path) -> None:
    path = tmp_path / "line.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE decisions (run INTEGER, item_id INTEGER, lane TEXT, label TEXT, confidence REAL, reason TEXT,"
            " frame_seq INTEGER, captured_at REAL, decided_at REAL, fire_at REAL, position_mm REAL, box TEXT,"
            " probabilities TEXT, PRIMARY KEY (run, item_id)) WITHOUT ROWID"
        )
    journal = Journal(path, None, ("m 1", "abc"), lambda *said: None)
    journal.decided(replace(decision(1), reason="unknown", strange=True))
    journal.decided(replace(decision(2), reason="unknown"))
    journal.stop()
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT item_id, strange FROM decisions").fetchall() == [(1, 1), (2, 0)]


def test_a_full_disk_under_one_file_keeps_nothing_from_the_other_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []
    path = tmp_path / "line.db"
    journal = Journal(path, Path("/dev/full"), ("m 1", "abc"), lambda *said: told.append(said))
    for n in range(20):
        journal.decided(decision(n))
        journal.ended(n, "fired", 2.0)
    journal.stop()
    assert len(rows(path, "decisions")) == len(rows(path, "endings")) == 20
    assert journal.lost == {"journal": 0, "decisions": 20}
    assert told == [
        ("journal_failed", False, "/dev/full: cannot be written (No space left on device)"),
        ("journal_rows_lost", False, "/dev/full: 20 rows are lost: the line stopped before its disk took them"),
    ]


def test_what_waits_for_a_disk_is_bounded_and_the_newest_rows_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sink.QUEUE", 10)
    told: list[tuple[object, ...]] = []
    path = tmp_path / "line.db"
    journal = Journal(path, None, ("m 1", "abc"), lambda *said: told.append(said), threaded=False)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    journal.decided(decision(0))
    journal.tick()
    for n in range(1, 25):
        journal.decided(decision(n))
    blocker.execute("ROLLBACK")
    blocker.close()
    journal.stop()
    assert [row[1] for row in rows(path, "decisions")] == list(range(15, 25))
    assert journal.lost == {"journal": 15}
    assert [(name, recovered) for name, recovered, _ in told] == [
        ("journal_failed", False), ("journal_rows_lost", False), ("journal_failed", True), ("journal_rows_lost", True),
    ]  # fmt: skip
    assert str(told[-1][2]).endswith("all that waited is written; 15 rows are lost")


def whole_lines(path: Path) -> list[int]:
    return [json.loads(text)["item_id"] for text in path.read_text().splitlines()]


def test_a_line_of_which_the_disk_took_half_is_taken_back_and_written_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    journal = Journal(None, path, ("m 1", "abc"), lambda *said: None, threaded=False)
    journal.decided(decision(0))
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, unlimited[1]))  # as a disk that fills up
    try:
        journal.decided(decision(1))
        journal.decided(decision(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert whole_lines(path) == [0]
    journal.tick()
    assert whole_lines(path) == [0, 1, 2]
    journal.stop()
    assert journal.lost == {"decisions": 0}


@pytest.mark.parametrize(
    ("left", "kept"),
    [(b"", [1]), (b'{"item_id": 2, "la', [1]), (b"\0" * 5000, [1]), (b'{"item_id": 2}', [1, 2])],
)
def test_what_a_crash_left_of_the_last_line_is_mended_and_earlier_decisions_stay(
    tmp_path: Path, left: bytes, kept: list[int]
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"item_id": 1}\n' + left)
    journal = Journal(None, path, ("m 1", "abc"), lambda *said: None, threaded=False)
    journal.decided(decision(7))
    journal.decided(decision(8))
    journal.stop()
    assert whole_lines(path) == [*kept, 7, 8]


def test_a_file_of_another_kind_is_refused_as_the_file_for_decisions_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    path.write_text("[model]\npath = 'x'")
    with pytest.raises(ConfigError, match=r"--decisions .*line\.toml: is another kind of file"):
        Journal(None, path, ("m 1", "abc"), lambda *said: None)
    assert path.read_text() == "[model]\npath = 'x'"


WRITES_AND_STAYS = """
import sys, time
from pathlib import Path
from edge.journal import Journal
from tests.edge.test_journal import decision
journal = Journal(None, Path(sys.argv[1]), ("m 1", "abc"), print)
journal.decided(decision(1))
while not Path(sys.argv[1]).read_bytes().endswith(b"\\n"):
    time.sleep(0.01)
print("written", flush=True)
time.sleep(60)
"""


def test_a_second_line_on_the_same_file_is_refused_until_the_first_is_gone_even_by_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    first = subprocess.Popen([sys.executable, "-c", WRITES_AND_STAYS, path], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "written\n"
        with pytest.raises(SortlineError, match=r"--decisions .*d\.jsonl: another line is writing this file"):
            Journal(None, path, ("m 1", "abc"), lambda *said: None)
        assert whole_lines(path) == [1]
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    journal = Journal(None, path, ("m 1", "abc"), lambda *said: None)
    journal.decided(decision(2))
    journal.stop()
    assert whole_lines(path) == [1, 2]


def test_a_text_that_is_no_utf8_does_not_keep_the_rows_behind_it_from_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "line.db", None, ("m 1", "abc"), lambda *said: None)
    journal.incident(Incident("eye_failed", "camera", 1.0, 2.0, os.fsdecode(b"caf\xe9.jpg"), "skipped"))
    journal.decided(decision(1))
    journal.stop()
    assert rows(tmp_path / "line.db", "incidents")[0][5] == "caf\\udce9.jpg"
    assert len(rows(tmp_path / "line.db", "decisions")) == 1


def test_files_that_are_moved_away_meanwhile_are_begun_anew_at_their_place_and_lose_no_row(tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []
    path, lines = tmp_path / "line.db", tmp_path / "decisions.jsonl"
    journal = Journal(path, lines, ("m 1", "abc"), lambda *said: told.append(said), threaded=False)
    journal.decided(decision(1))
    journal.tick()
    path.rename(tmp_path / "old.db")
    lines.rename(tmp_path / "old.jsonl")
    journal.decided(decision(2))
    journal.tick()
    lines.unlink()
    path.unlink()
    journal.decided(decision(3))
    journal.stop()
    assert [row[1] for row in rows(tmp_path / "old.db", "decisions")] == [1]
    assert [row[1] for row in rows(path, "decisions")] == [3]
    assert rows(path, "runs") == rows(tmp_path / "old.db", "runs")
    assert [json.loads(line)["item_id"] for line in (tmp_path / "old.jsonl").read_text().splitlines()] == [1]
    assert [json.loads(line)["item_id"] for line in lines.read_text().splitlines()] == [3]
    assert (told, journal.lost) == ([], {"journal": 0, "decisions": 0})


def test_a_place_that_is_gone_is_told_and_the_rows_wait_for_it(tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []
    folder = tmp_path / "disk"
    folder.mkdir()
    path = folder / "line.db"
    journal = Journal(path, None, ("m 1", "abc"), lambda *said: told.append(said), threaded=False)
    folder.rename(tmp_path / "away")
    journal.decided(decision(1))
    journal.tick()
    assert [said[:2] for said in told] == [("journal_failed", False)] and str(path) in str(told[0][2])
    folder.mkdir()
    journal.tick()
    journal.stop()
    assert [row[1] for row in rows(path, "decisions")] == [1]
    assert told[-1][:2] == ("journal_failed", True)
