"""Open a SQLite file as a journal: set its pragmas, upgrade its schema, count this start."""

import contextlib
import errno
import functools
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from core.errors import Broken, Unavailable

from ..actor import SERVICE, Actor
from ..facts import AuditOptions
from ..seal import Opener, PeriodKeys, Sealer
from . import unsealed
from .audit import AuditWriter, begin_next_log, open_log
from .batch import BUSY_MS, checkpoint
from .bulk import CACHED_STATEMENTS
from .errors import error_name, judged
from .hidden_modules import hide_modules
from .keys import stored_keys
from .read_only import open_read_only
from .visible import ById, FiltersOf, configure, no_filters

# sqlite_utils imports both if it can. They need memory, and system calls that a hardened systemd
# unit refuses.
with hide_modules("numpy", "pandas"):
    from sqlite_utils import Database, Migrations


#: The SQLite library in use, as numbers.
SQLITE_VERSION = sqlite3.sqlite_version_info
#: Connections that must not be closed: closing would checkpoint again, and hide the failure.
_UNTOUCHED: list[sqlite3.Connection] = []
#: SQLite's errors on a full disk, for a page, the log, or the index of the log.
_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE")


#: The reason for WrongJournal with another secret.
MADE_WITH_ANOTHER = (
    "server.secret is not the one that the journal was made with; "
    "put the old one back, or begin a new journal"
)
#: The beginning of the names in `meta` of the key files of the journal.
_KEY_FILE = "key_file/"
_KNOWN_KEY_FILES = "select name from meta where name glob ?"


class WrongJournal(Exception):
    """The file is not the journal of this configuration."""


class DiskFull(Unavailable):
    """The disk is full: the journal cannot be opened yet."""


def has_wal_reset_race(version: tuple[int, int, int]) -> bool:
    """Return whether two writing connections can lose the log in that version of SQLite.

    sqlite.org/wal.html#walresetbug: since 3.7.0, fixed in 3.51.3, 3.50.7 and 3.44.6.
    """
    if version[:2] in {(3, 44), (3, 50)}:
        return version < ((3, 44, 6) if version[1] == 44 else (3, 50, 7))  # noqa: PLR2004 - see above
    return (3, 7, 0) <= version < (3, 51, 3)


def migrations() -> Migrations:
    """Return one step for each `*.sqlite.sql` file, in the order of their numbers."""
    steps = Migrations("journal")
    for name, statements in _scripts():

        def step(db: Database, statements: Sequence[str] = statements) -> None:
            for statement in statements:
                db.execute(statement)

        steps(name=name)(step)
    return steps


def migrate(path: Path) -> list[str]:
    """Bring the schema up to date, each step in a transaction; return the applied steps.

    The caller holds the lock. Raises WrongJournal for a file of a newer version or another kind,
    Unavailable if the caller may try again, and Broken if the process must end by `os._exit`.
    """
    with errors_named(path):
        conn = _connect(path)
        with _closed_after(conn):
            taken = _migrate(conn)
            _write_back(conn)  # closing would checkpoint, too, but would hide a failed fsync
        conn.close()
        return taken


def is_current(path: Path) -> bool:
    """Return whether a journal has the schema of this version. Raises as `migrate` does."""
    with errors_named(path), contextlib.closing(open_read_only(path)) as conn:
        db = Database(conn, execute_plugins=False)
        return {step.name for step in migrations().applied(db)} == {name for name, _ in _scripts()}


def vacuum(path: Path) -> None:
    """Rewrite the file without its free pages. The caller holds the lock.

    It needs twice as much free space as the file. Raises as `migrate` does, and DiskFull. Only one
    thread of the process may use SQLite meanwhile.
    """
    with errors_named(path):
        conn = _connect(path)
        with _closed_after(conn):
            # The temporary copy has everything that the journal has. SQLite would write it to
            # /var/tmp, which may be on a disk that is small, or that is not encrypted.
            folder = str(path.absolute().parent).replace("'", "''")
            conn.execute(f"pragma temp_store_directory = '{folder}'")
            conn.execute("vacuum")
            _write_back(conn)
        conn.close()


@functools.cache
def _scripts() -> Sequence[tuple[str, Sequence[str]]]:
    """Return the statements of each step, by its name."""
    suffix = ".sqlite.sql"
    return sorted(
        (path.name.removesuffix(suffix), _statements(path.read_text()))
        for path in files("journal.sqlite.migrations").iterdir()
        if path.name.endswith(suffix)
    )


def _statements(script: str) -> Sequence[str]:
    """Split a script after the lines that end a statement.

    `sqlite3.executescript` would commit. That of sqlite-utils looks at the whole statement again
    after each character, which took most of the time to make a journal.
    """
    found = [""]
    for line in script.splitlines(keepends=True):
        found[-1] += line
        if sqlite3.complete_statement(found[-1]):
            found.append("")
    return found


def _migrate(conn: sqlite3.Connection) -> list[str]:
    # No plugins: other packages of the environment must not use this connection.
    db, steps = Database(conn, execute_plugins=False), migrations()
    newer = {step.name for step in steps.applied(db)} - {name for name, _ in _scripts()}
    if newer:
        raise WrongJournal(
            f"the journal has step {max(newer)}, of a newer smshook; use that version"
        )
    pending = [step.name for step in steps.pending(db)]
    steps.apply(db)
    return pending


@contextlib.contextmanager
def errors_named(path: Path, name: str = "") -> Iterator[None]:
    """Raise our errors for those of SQLite and the system, while the file is opened.

    They name the path, or `name`.
    """
    name = name or str(path)
    try:
        yield
    except sqlite3.Error as exc:
        error = error_name(exc)
        if error == "SQLITE_NOTADB":
            raise WrongJournal(f"{name} is not an SQLite database; name another file") from exc
        full = error in _NO_ROOM
        if error == "SQLITE_CANTOPEN":
            with contextlib.suppress(OSError):
                disk = os.statvfs(path.parent)
                # No bytes or no inodes are left for the log.
                full = disk.f_bavail == 0 or 0 == disk.f_favail < disk.f_files
                if path.exists() and not os.access(path, os.R_OK, effective_ids=True):
                    error = os.strerror(errno.EACCES)
        kind = Broken if _is_fatal(exc) else DiskFull if full else Unavailable
        raise kind(f"{name} cannot be opened: {error}") from exc
    except OSError as exc:
        kind = DiskFull if exc.errno in (errno.ENOSPC, errno.EDQUOT) else Unavailable
        raise kind(f"{name} cannot be opened: {exc.strerror}") from exc


@contextlib.contextmanager
def _closed_after(conn: sqlite3.Connection) -> Iterator[None]:
    """Close the connection after an error, unless closing could hide the error."""
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, Broken) or _is_fatal(exc):
            _UNTOUCHED.append(conn)
        else:
            conn.close()
        raise


def _is_fatal(exc: BaseException) -> bool:
    # A file that is not a database is not damaged.
    if not isinstance(exc, sqlite3.Error) or error_name(exc) == "SQLITE_NOTADB":
        return False
    return isinstance(judged(exc), Broken)


def _connect(path: Path) -> sqlite3.Connection:
    # Mode 0600 from the first byte: SQLite would let all users read the file.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    conn = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
        cached_statements=CACHED_STATEMENTS,
    )
    with _closed_after(conn):
        _refuse_other_kind(conn, path)
        # An automatic checkpoint hides a failed fsync (decision 12).
        conn.execute("pragma wal_autocheckpoint = 0")
        conn.execute("pragma journal_mode = wal")
        # FULL: NORMAL lost acknowledged commits at a power cut.
        conn.execute("pragma synchronous = full")
        conn.execute("pragma secure_delete = on")
    return conn


class OpenedFile(NamedTuple):
    """An open journal file, and this start of the service."""

    conn: sqlite3.Connection
    start: int
    identity: str
    generation: str
    filters: ById
    opener: Opener
    #: Whether the journal was made with keys: its dedupe keys need them.
    seals_dedupe: bool
    audit: AuditWriter


def begin(
    path: Path,
    *,
    seal: str,
    now: float,
    version: str,
    filters: FiltersOf = no_filters,
    keys: PeriodKeys | None = None,
    audit: AuditOptions | None = None,
) -> OpenedFile:
    """Open the file in the writing thread. Raises WrongJournal for another secret or key file.

    `keys` None: new rows are stored in clear. `audit` None: the audit log has the time `now`.
    """
    conn = _connect(path)
    with _closed_after(conn):
        _refuse_other_secret(conn, seal)
        _migrate(conn)
        conn.execute("begin immediate")
        if keys is not None:
            conn.execute(
                "insert into meta select 'dedupe', 'sealed'"
                " where not exists (select 1 from meta where name = 'identity')"
            )
            # Later events are never in clear, in no copy of the journal.
            conn.execute(
                "insert into meta select 'sealed_after', coalesce(max(seq), 0) from events"
                " where true on conflict do nothing"
            )
        else:
            conn.execute("delete from meta where name = 'sealed_after'")
        conn.executemany(
            "insert into meta values (?, ?) on conflict do nothing",
            (("identity", uuid.uuid4().hex), ("seal", seal)),
        )
        # Until a restore changes it, the generation is the identity: old cursors stay valid.
        conn.execute(
            "insert into meta select 'generation', value from meta where name = 'identity'"
            " on conflict do nothing"
        )
        identity = _identity(conn)
        (generation,) = conn.execute("select value from meta where name = 'generation'").fetchone()
        start = conn.execute(
            "insert into starts (at, pid, version) values (?, ?, ?)", (now, os.getpid(), version)
        ).lastrowid
        opener = Opener(None, journal=identity)
        if keys is not None:
            opener = Sealer(keys, journal=identity, chance=os.urandom)
            _refuse_other_keys(conn, opener, is_new=keys.is_new)
        unsealed.begin(conn, opener if isinstance(opener, Sealer) else None)
        seals_dedupe = unsealed.seals_dedupe(conn)
        by_id = configure(conn, filters(stored_keys(conn)), opener)
        options = AuditOptions(now=lambda: now, shown=str) if audit is None else audit
        writer = open_log(conn, _origin(identity, generation), options)
        conn.execute("commit")
        # The log of an earlier start may not have reached the disk. Now it has.
        _write_back(conn)
    return OpenedFile(
        conn=conn,
        start=int(start or 0),
        identity=identity,
        generation=generation,
        filters=by_id,
        opener=opener,
        seals_dedupe=seals_dedupe,
        audit=writer,
    )


def begin_generation(
    path: Path,
    *,
    seal: str,
    now: float = 0.0,
    actor: Actor = SERVICE,
    change: Callable[[sqlite3.Connection], None] = lambda _conn: None,
) -> None:
    """Make a copy of a journal a journal of its own, in which earlier cursors are not valid.

    It has an audit log of its own, too: to go on with that of the copied journal would sign two
    states of one log. `change` is called in the same transaction. Afterwards the file has no log
    beside it. Raises WrongJournal for another secret or a newer version, Unavailable and Broken.
    """
    with errors_named(path):
        conn = _connect(path)
        with _closed_after(conn):
            _refuse_other_secret(conn, seal)
            _migrate(conn)
            conn.execute("begin immediate")
            generation = uuid.uuid4().hex
            conn.execute(
                "insert into meta values ('generation', ?)"
                " on conflict do update set value = excluded.value",
                (generation,),
            )
            change(conn)
            if conn.execute("select first from audit_logs").fetchone() is not None:
                ended = AuditWriter(conn, AuditOptions(now=lambda: now, shown=str))
                begin_next_log(ended, _origin(_identity(conn), generation), actor)
            conn.execute("commit")
            checkpoint(conn, "truncate")
            conn.execute("pragma journal_mode = delete")
        conn.close()


def _identity(conn: sqlite3.Connection) -> str:
    (identity,) = conn.execute("select value from meta where name = 'identity'").fetchone()
    return str(identity)


def _origin(identity: str, generation: str) -> str:
    """Return the name of the audit log. A restored journal has another one than its original."""
    return f"smshook/{identity}" + ("" if generation == identity else f"/{generation}")


def _refuse_other_kind(conn: sqlite3.Connection, path: Path) -> None:
    """Raise WrongJournal for another program's database. Call it before a pragma writes."""
    found = conn.execute("select name from sqlite_schema where type = 'table'")
    tables = {name for (name,) in found if not name.startswith("sqlite_")}
    # A first migration that was killed leaves only its list of steps.
    if not (tables <= {Migrations.migrations_table} or {"meta", "starts"} <= tables):
        raise WrongJournal(f"{path} is a database, but not a journal of smshook; name another file")


def _refuse_other_secret(conn: sqlite3.Connection, seal: str) -> None:
    """Raise WrongJournal. Call it before a migration writes."""
    made = conn.execute("select count(*) from sqlite_schema where name = 'meta'").fetchone()[0]
    row = made and conn.execute("select value from meta where name = 'seal'").fetchone()
    if row and row[0] != seal:
        raise WrongJournal(MADE_WITH_ANOTHER)


def _refuse_other_keys(conn: sqlite3.Connection, sealer: Sealer, *, is_new: bool) -> None:
    """Raise WrongJournal if the keys are those of another journal: they would open nothing.

    The journal keeps a hash of each key file that it was opened with. After a loss it takes a new
    file, and later the lost one again.
    """
    derived = sealer.derive("key file")
    if derived is None:
        return  # the keys are missing: nothing is sealed, and nothing opens
    name = f"{_KEY_FILE}{derived.hex()}"
    known = [name for (name,) in conn.execute(_KNOWN_KEY_FILES, (f"{_KEY_FILE}*",))]
    if known and name not in known and not is_new:
        raise WrongJournal(
            "the key file (seal.file) belongs to another journal; put that of this journal in its "
            "place. If it is lost, remove the other: encrypted content then reads as erased"
        )
    conn.execute("insert into meta values (?, '1') on conflict do nothing", (name,))


def _write_back(conn: sqlite3.Connection) -> None:
    try:
        checkpoint(conn, "truncate")
    except Broken:
        raise
    except Unavailable:
        return  # a full disk: the journal continues in its log
