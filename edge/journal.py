"""The journal: every decision, actuation, ending and incident in SQLite, and decisions as JSON lines.

Each of the two files is written by a worker of its own, the journal in short transactions. A full disk or a
locked file never stops sorting, nor the other file: see edge/sink.py.
"""

import json
import os
import sqlite3
import time
from collections import deque
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from edge.decide import rounded
from edge.decisions import DecisionFile
from edge.errors import ConfigError
from edge.files import identity
from edge.records import Actuation, Decision, Incident, Outcome
from edge.sink import BATCH, OnTrouble, Sink

EVERY_S = 0.2  # rows of so long make one transaction
# What sqlite says of a full disk, and of a file that another program holds.
PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
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


class Journal:
    """Opens the SQLite file (WAL) and the JSON-lines file that were asked for; either may be None.

    Raises ConfigError when a file cannot be opened, SortlineError when another line writes the JSON lines.
    model is the model's name and SHA-256. on_trouble is told of a file that cannot be written and of rows that
    are lost, and of the end of it: (name of the incident, recovered, sentence).
    """

    def __init__(
        self,
        path: Path | None,
        decisions: Path | None,
        model: tuple[str, str],
        on_trouble: OnTrouble,
        *,
        threaded: bool = True,
    ) -> None:
        started = _utc()
        self.about = {"run_started_utc": started, "model_sha256": model[1]}
        lines = DecisionFile(decisions, self.about) if decisions is not None else None
        try:
            database = Database(path, started, model) if path is not None else None
        except BaseException:
            if lines is not None:
                lines.close()
            raise
        self._lines = Sink("sortline-decisions", lines, on_trouble, threaded=threaded) if lines else None
        self._database = (
            Sink("sortline-journal", database, on_trouble, every_s=EVERY_S, threaded=threaded) if database else None
        )

    @property
    def lost(self) -> dict[str, int]:
        """How many rows could not be kept, for each of the files that are written: `journal`, `decisions`."""
        sinks = {"journal": self._database, "decisions": self._lines}
        return {name: sink.lost for name, sink in sinks.items() if sink is not None}

    def decided(self, decision: Decision) -> None:
        """Writes a decision to both files."""
        for sink in (self._lines, self._database):
            if sink is not None:
                sink.put(decision)

    def fired(self, actuation: Actuation, fired_at: float) -> None:
        self._insert("actuations", actuation.item_id, actuation.lane, actuation.output, actuation.fire_mm, fired_at)

    def ended(self, item_id: int, outcome: Outcome, at: float) -> None:
        self._insert("endings", item_id, outcome, at)

    def incident(self, incident: Incident) -> None:
        i = incident
        self._insert("incidents", i.name, i.scope, i.at, i.position_mm, i.cause, i.action, i.item_id, i.recovered)

    def labelled(self, item_id: int, label: str | None, picture: str | None) -> None:
        """What a person says that an item is, and the file that keeps its picture; None is no class of the model's."""
        self._insert("labels", item_id, label, picture, _utc())

    def tick(self) -> None:
        """Called now and then, so that a quiet belt's last rows reach the disk too."""
        for sink in (self._lines, self._database):
            if sink is not None:
                sink.tick()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Writes what waits and closes: the JSON lines first, so that the journal holds what became of them."""
        deadline = time.monotonic() + timeout_s
        if self._database is not None:
            self._database.hurry()
        for sink in (self._lines, self._database):
            if sink is not None:
                sink.stop(max(deadline - time.monotonic(), 0.05))

    def _insert(self, table: str, *values: Any) -> None:
        if self._database is not None:
            self._database.put((table, values))


class Database:
    """The journal's SQLite file, open for one run. What is put is a Decision, or a table's name and its values.

    One that is moved away or removed meanwhile is begun anew at its place, with the same run. Where the disk is
    full, or somebody else holds the file, it is opened once that is over: a line that is started anew by its
    supervisor must sort all the same.
    """

    def __init__(self, path: Path, started_utc: str, model: tuple[str, str]) -> None:
        self.path, self._about = path, (started_utc, model)
        self._database: sqlite3.Connection | None = None
        with suppress(sqlite3.Error):  # `write` meets it again, and its caller tells of it
            self._open()

    def _open(self) -> sqlite3.Connection:
        self._identity: tuple[int, int] | None = None
        self._database, self._run = _open_database(self.path, *self._about)
        self._identity = identity(self.path)
        return self._database

    def row(self, job: Decision | tuple[str, tuple[Any, ...]]) -> Row:
        if isinstance(job, Decision):
            d, box = job, json.dumps(list(asdict(job.box).values()))
            job = "decisions", (
                d.item_id, d.lane, d.label, d.confidence, d.reason, d.frame_seq, d.captured_at,
                d.decided_at, d.fire_at, d.position_mm, box, json.dumps(rounded(d.probabilities)), d.strange,
            )  # fmt: skip
        table, values = job
        marks = ", ".join("?" * (len(values) + 1))
        return f"INSERT OR IGNORE INTO {table} VALUES ({marks})", tuple(map(_storable, values))

    def write(self, rows: deque[Row]) -> None:
        """Short transactions, one after the other; sqlite3.Error when the disk refuses one, whose rows then stay."""
        database = self._database
        if database is None or self._identity is None or identity(self.path) != self._identity:
            if database is not None:
                with suppress(sqlite3.Error):  # closing alone leaves a moved file's newest rows in the WAL
                    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.close()
            database = self._open()
        while rows:
            batch = list(islice(rows, BATCH))
            with database:
                for statement, values in batch:
                    database.execute(statement, (self._run, *values))
            for _ in batch:
                rows.popleft()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()


def _storable(value: Any) -> Any:
    """A value that SQLite takes: a text may hold the bytes of a file's name that are no UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def check_journal(path: Path) -> None:
    """Raises ConfigError unless a journal can be written at path; makes nothing and locks nothing."""
    try:
        _look(path)
    except sqlite3.Error as error:
        raise _no_database(path, error) from None


def _look(path: Path) -> None:
    """Raises ConfigError for a place where no journal can be, sqlite3.Error for what lies there and cannot be read."""
    key = f"journal.path = {str(path)!r}"
    if path.is_dir():
        raise ConfigError(f"{key}: is a folder; name a file in it, such as line.db")
    if not path.parent.is_dir():
        raise ConfigError(f"{key}: there is no folder {path.parent}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{key}: this user may not write there")
    if path.exists():
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
            database.execute("PRAGMA user_version").fetchone()


def _no_database(path: Path, error: sqlite3.Error) -> ConfigError:
    return ConfigError(f"journal.path = {str(path)!r}: cannot be opened as a SQLite file ({error})")


def check_pictures(folder: Path) -> None:
    """Raises ConfigError when pictures can never be kept in folder; one that is not there yet is made later."""
    key = f"journal.pictures = {str(folder)!r}"
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise ConfigError(f"{key}: {'is' if there == folder else f'{there} is'} a file, not a folder")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"{key}: this user may not write there")


def _open_database(path: Path, started_utc: str, model: tuple[str, str]) -> tuple[sqlite3.Connection, int]:
    """Raises ConfigError for what a person has to mend, sqlite3.Error for what may be over in a while."""
    database = None
    try:
        _look(path)
        database = sqlite3.connect(path, check_same_thread=False, timeout=1.0)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(SCHEMA)
        if "strange" not in {column[1] for column in database.execute("PRAGMA table_info(decisions)")}:
            database.execute("ALTER TABLE decisions ADD COLUMN strange INTEGER")  # a journal of an earlier version
        with database:
            row = database.execute(
                "INSERT INTO runs (started_utc, model, sha256) VALUES (?, ?, ?)", (started_utc, *model)
            )
    except sqlite3.Error as error:
        if database is not None:
            database.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in PASSING:
            raise
        raise _no_database(path, error) from None
    return database, int(row.lastrowid or 0)
