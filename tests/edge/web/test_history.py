"""The shift from the journal: real rows, written by the line's own journal."""

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.journal import Journal
from edge.web import history as history_module
from edge.web.app import create_app
from edge.web.history import STEP_S, History
from edge.web.hub import Hub
from tests.edge.web import fake_line

LANES = ("left", "right", "rest")


def journal(path: Path) -> Journal:
    return Journal(path, None, ("colours 1", "0" * 64), lambda *said: None)


def write(path: Path, ages_s: list[float], first_id: int = 1) -> None:
    """One run of the line, with an item decided so many seconds ago each, in the lane `left`."""
    one, _ = fake_line.decision_at(4, 60.0)
    book = journal(path)
    for i, age_s in enumerate(ages_s):
        book.decided(replace(one, item_id=first_id + i, lane="left", decided_at=time.monotonic() - age_s))
    book.stop(5.0)


def left(history: History) -> list[int]:
    return list(history.shift(8)["lanes"]["left"])


def test_items_fall_into_the_ten_minutes_in_which_they_were_decided(tmp_path: Path) -> None:
    path = tmp_path / "line.db"
    write(path, [100_000, 29_000, 4 * STEP_S, 4 * STEP_S, 1, 0])
    counts = left(History(path, LANES))
    assert len(counts) == 48
    assert sum(counts) in {4, 5}  # eight hours back is within the first, only partly covered, step
    assert counts[-1] + counts[-2] == 2
    assert counts[-5] + counts[-6] + counts[-4] == 2


def test_of_a_long_run_only_the_shift_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "line.db"
    write(path, [180_000 - 20 * n for n in range(9_000)])
    counts = left(History(path, LANES))
    assert max(counts) == STEP_S / 20
    assert 47 * 30 <= sum(counts) <= 48 * 30


def began(path: Path, when: float) -> None:
    """Makes the last run one that began at a moment, by its own clock."""
    with sqlite3.connect(path) as database:
        said = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
        database.execute("UPDATE runs SET started_utc = ? WHERE id = (SELECT MAX(id) FROM runs)", (said,))


@pytest.mark.parametrize("wrong", [None, 12.0], ids=["", "after one whose clock began in 1970"])
def test_an_earlier_run_is_placed_by_its_start(tmp_path: Path, wrong: float | None) -> None:
    path = tmp_path / "line.db"
    write(path, [50, 40])
    began(path, time.time() - 3600)
    if wrong is not None:
        for _ in range(2):
            write(path, [30])
            began(path, wrong)
    write(path, [0])
    counts = left(History(path, LANES))
    assert counts[-1] + counts[-2] == 1
    assert sum(counts[-9:-5]) == 2


def test_without_a_journal_or_with_a_broken_one_there_is_no_history(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"not a database at all" * 100)
    for path in (None, tmp_path / "none.db", tmp_path / "broken.db"):
        assert History(path, LANES).shift(8)["lanes"] == {}
    assert not (tmp_path / "none.db").exists()


def test_the_page_asks_for_the_shift_and_for_no_other_number_of_hours(tmp_path: Path) -> None:
    path = tmp_path / "line.db"
    write(path, [1, 2])
    config = fake_line.config(tmp_path)
    config = config.model_copy(update={"journal": config.journal.model_copy(update={"path": path})})
    client = create_app(Hub(), None, config).test_client()
    shift = client.get("/history.json").get_json()
    assert sum(shift["lanes"]["left"]) == 2
    assert len(shift["lanes"]["left"]) == 8 * 3600 / shift["step_s"]
    for hours in ("2", "8.0", "-1", "x", "", "08"):
        response = client.get(f"/history.json?hours={hours}")
        assert (response.status_code, response.get_json()) == (400, {"error": "hours must be 1, 8 or 24"})
    for hours in ("hours=1&hours=8", "hours=8&hours=8"):
        response = client.get(f"/history.json?{hours}")
        assert (response.status_code, response.get_json()) == (400, {"error": "hours is given more than once"})


def test_many_who_ask_cost_one_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "line.db"
    write(path, [1])
    history = History(path, LANES)
    first = history.shift(8)
    write(path, [1])
    assert history.shift(8) is first
    monkeypatch.setattr(history_module, "FRESH_S", 0.0)
    assert sum(history.shift(8)["lanes"]["left"]) == 2


def test_reading_holds_up_nobody_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "line.db"
    write(path, [1])
    book = journal(path)
    one, _ = fake_line.decision_at(4, 60.0)
    for n in range(200):
        book.decided(replace(one, item_id=n, lane="left", decided_at=time.monotonic()))
        History(path, LANES).shift(8)
    book.stop(5.0)
    assert book.lost == {"journal": 0}
    assert sum(left(History(path, LANES))) == 201
