"""The journal: every decision, actuation, ending and incident in SQLite, and decisions as JSON lines.

A worker of its own writes in short transactions. A full disk or a locked file never stops sorting:
what could not be written is counted and becomes an incident, and writing is tried again.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from edge.decide import rounded
from edge.errors import ConfigError
from edge.records import Actuation, Decision, Incident, Outcome
from edge.worker import Worker

QUEUE = 10_000
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, started_utc TEXT, model TEXT, sha256 TEXT);
CREATE TABLE IF NOT EXISTS decisions (run INTEGER, item_id INTEGER, lane TEXT, label TEXT, confidence REAL,
    reason TEXT, frame_seq INTEGER, captured_at REAL, decided_at REAL, fire_at REAL, position_mm REAL,
    box TEXT, probabilities TEXT, strange INTEGER, PRIMARY KEY (run, item_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS actuations (run INTEGER, item_id INTEGER, lane TEXT, output TEXT, fire_mm REAL,
    fired_at REAL);
CREATE TABLE IF NOT EXISTS endings (run INTEGER, item_id INTEGER, outcome TEXT, at REAL,
    PRIMARY KEY (run, item_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incidents (run INTEGER, name TEXT, scope TEXT, at REAL, position_mm REAL, cause TEXT,
    action TEXT, item_id INTEGER, recovered INTEGER);
CREATE TABLE IF NOT EXISTS labels (run INTEGER, item_id INTEGER, label TEXT, picture TEXT, at_utc TEXT);
"""

Row = tuple[str, tuple[Any, ...]]


def decision_as_dict(decision: Decision) -> dict[str, Any]:
    """A Decision as it is written to JSON: its own keys, the box as x, y, width, height."""
    content = asdict(decision)
    content["probabilities"] = rounded(decision.probabilities)
    return content


class Journal:
    """Opens the SQLite file (WAL) and the JSON-lines file that were asked for; either may be None.

    Raises ConfigError when a file cannot be opened. on_trouble is called once when writing begins to
    fail and once when it works again: (recovered, sentence).
    """

    def __init__(
        self,
        path: Path | None,
        decisions: Path | None,
        model: tuple[str, str],
        on_trouble: Callable[[bool, str], None],
        *,
        threaded: bool = True,
    ) -> None:
        self._on_trouble = on_trouble
        self._trouble = False
        self.unwritten = 0
        self._lines = _open_lines(decisions)
        self._decisions_path, self._path = decisions, path
        self._database: sqlite3.Connection | None = None
        self._run, self._sha256 = 0, model[1]
        self._pending: list[Row] = []
        self._committed = time.monotonic()
        if path is not None:
            self._database, self._run = _open_database(path, model)
        self._worker: Worker[Row | Decision | None] = Worker(
            "sortline-journal", self._write, QUEUE, self._failed, threaded=threaded
        )

    def decided(self, decision: Decision) -> None:
        """Writes a decision to both files."""
        self._put(decision)

    def fired(self, actuation: Actuation, fired_at: float) -> None:
        self._insert("actuations", actuation.item_id, actuation.lane, actuation.output, actuation.fire_mm, fired_at)

    def ended(self, item_id: int, outcome: Outcome, at: float) -> None:
        self._insert("endings", item_id, outcome, at)

    def incident(self, incident: Incident) -> None:
        i = incident
        self._insert("incidents", i.name, i.scope, i.at, i.position_mm, i.cause, i.action, i.item_id, i.recovered)

    def labelled(self, item_id: int, label: str | None, picture: str | None) -> None:
        """What a person says that an item is, and the file that keeps its picture; None is no class of the model's."""
        self._insert("labels", item_id, label, picture, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def tick(self) -> None:
        """Called now and then, so that a quiet belt's last rows reach the disk too."""
        if self._pending:
            self._put(None)

    def stop(self, timeout_s: float = 1.0) -> None:
        """Writes what waits and closes."""
        self._put(None)
        self.unwritten += len(self._worker.stop(timeout_s))
        if self._database is not None:
            try:
                self._commit()
                self._database.close()
            except sqlite3.Error as error:
                self._failed(error)
        if self._lines is not None:
            try:
                self._lines.close()
            except OSError as error:
                self._failed(error)

    def _insert(self, table: str, *values: Any) -> None:
        if self._database is not None:
            marks = ", ".join("?" * (len(values) + 1))
            self._put((f"INSERT OR IGNORE INTO {table} VALUES ({marks})", (self._run, *values)))

    def _put(self, job: Row | Decision | None) -> None:
        if not self._worker.put(job) and job is not None:
            self.unwritten += 1

    def _write(self, job: Row | Decision | None) -> None:
        if isinstance(job, Decision):
            if self._lines is not None:
                self._lines.write(json.dumps({**decision_as_dict(job), "model_sha256": self._sha256}) + "\n")
                self._lines.flush()
            d, box = job, json.dumps(list(asdict(job.box).values()))
            job = (
                "INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._run, d.item_id, d.lane, d.label, d.confidence, d.reason, d.frame_seq, d.captured_at,
                 d.decided_at, d.fire_at, d.position_mm, box, json.dumps(rounded(d.probabilities)), d.strange),
            )  # fmt: skip
        if self._database is None:
            self._recovered()
            return
        if job is not None:
            self._pending.append(job)
        if job is None or time.monotonic() - self._committed > 0.2 or len(self._pending) > 500:
            self._commit()
            self._recovered()

    def _commit(self) -> None:
        """One short transaction. Rows that the disk refuses stay pending, up to the queue's size."""
        assert self._database is not None
        try:
            with self._database:
                for statement, values in self._pending:
                    self._database.execute(statement, values)
            self._pending.clear()
        finally:
            self._committed = time.monotonic()
            if (excess := len(self._pending) - QUEUE) > 0:
                del self._pending[:excess]
                self.unwritten += excess

    def _failed(self, error: BaseException) -> None:
        if not self._trouble:
            self._trouble = True
            self._on_trouble(False, f"{self._path or self._decisions_path}: cannot be written ({error})")

    def _recovered(self) -> None:
        if self._trouble:
            self._trouble = False
            self._on_trouble(True, f"{self._path or self._decisions_path}: can be written again")


def _open_lines(path: Path | None) -> IO[str] | None:
    if path is None:
        return None
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--decisions {path}: cannot be written ({error.strerror})") from None


def check_journal(path: Path) -> None:
    """Raises ConfigError unless a journal can be written at path; makes nothing and locks nothing."""
    key = f"journal.path = {str(path)!r}"
    if path.is_dir():
        raise ConfigError(f"{key}: is a folder; name a file in it, such as line.db")
    if not path.parent.is_dir():
        raise ConfigError(f"{key}: there is no folder {path.parent}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{key}: this user may not write there")
    if path.exists():
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
                database.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(f"{key}: cannot be opened as a SQLite file ({error})") from None


def check_pictures(folder: Path) -> None:
    """Raises ConfigError when pictures can never be kept in folder; one that is not there yet is made later."""
    key = f"journal.pictures = {str(folder)!r}"
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise ConfigError(f"{key}: {'is' if there == folder else f'{there} is'} a file, not a folder")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"{key}: this user may not write there")


def _open_database(path: Path, model: tuple[str, str]) -> tuple[sqlite3.Connection, int]:
    check_journal(path)
    try:
        database = sqlite3.connect(path, check_same_thread=False, timeout=1.0)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(SCHEMA)
        if "strange" not in {column[1] for column in database.execute("PRAGMA table_info(decisions)")}:
            database.execute("ALTER TABLE decisions ADD COLUMN strange INTEGER")  # a journal of an earlier version
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with database:
            row = database.execute("INSERT INTO runs (started_utc, model, sha256) VALUES (?, ?, ?)", (started, *model))
    except sqlite3.Error as error:
        raise ConfigError(f"journal.path = {str(path)!r}: cannot be opened as a SQLite file ({error})") from None
    return database, int(row.lastrowid or 0)
