"""Searches many texts: each different text once, none that is cached, large amounts on all cores.

1. The cache cannot change a result: its key is an HMAC of the text and the engine's digest, which
   covers everything that can change the findings. It holds entity, place and score, never text. The
   filter's compiled patterns are kept beside it under such a key.
2. Losing the cache or failing to write it costs only time.
3. A text that could not be searched completely is not cached.
"""

from __future__ import annotations

import hmac
import json
import multiprocessing
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

from pipelines.pii import disguise, exclusions
from pipelines.pii.engine import Engine, PlainEngine, Span, Unscanned
from pipelines.pii.filter import fastest, fingerprint
from pipelines.pii.kept import KeptFile

FILTER_PAYS = 200_000
"""From this many characters on, the filter saves more time than its preparation costs (about 3
CPU-seconds). If its patterns are kept from another run, it always does.
"""

CORES_PAY = 2_000_000
"""From this many characters on, more processes save more time than they cost."""

CHUNK = 256
"""Texts per task of a process."""

SENTENCE = "This sentence is searched before processes are forked: they share what it loads."

RECENT = 20_000
"""Texts remembered in memory, so that an unchanged text is searched once per run."""

CACHE_BYTES = 1 << 30
"""Size from which the cache is started again."""

PATTERNS = "pii-patterns.hyperscan"
"""The file beside the cache with the filter's compiled patterns."""


@dataclass(frozen=True)
class Found:
    """The findings in one text."""

    spans: tuple[Span, ...] = ()
    language: str = ""
    """The language of policy's that the text is written in."""
    problem: str = ""
    """Why it could not be searched completely; then `spans` is meaningless."""


class Search:
    """Finds personal data in texts with one engine and one cache. Use it as a context manager,
    because it may own processes.
    """

    def __init__(self, plain: PlainEngine, cache: Path | None, key: bytes) -> None:
        self.plain = plain
        self._fast: Engine | None = None
        self._cache = _Cache(cache) if cache else None
        self._key = hmac.digest(key, f"pii cache {plain.digest}".encode(), "sha256")
        patterns = hmac.digest(key, f"pii patterns {fingerprint(plain)}".encode(), "sha256")
        self._kept = KeptFile(cache.with_name(PATTERNS), patterns) if cache else None
        self._recent: dict[bytes, Found] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
        self.searched = 0
        """Number of texts that were not in the cache."""

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._cache:
            self._cache.close()

    def find(self, texts: Sequence[str]) -> list[Found]:
        """The findings in each of `texts`, in their order."""
        keys = {text: self._name(text) for text in dict.fromkeys(texts)}
        known = {key: self._recent[key] for key in keys.values() if key in self._recent}
        if self._cache:
            rest = [key for key in keys.values() if key not in known]
            known |= self._cache.get(rest)
        new = [text for text, key in keys.items() if key not in known]
        fresh = {keys[text]: found for text, found in zip(new, self._search(new), strict=True)}
        self.searched += len(new)
        if self._cache:
            self._cache.put({key: found for key, found in fresh.items() if not found.problem})
        if len(self._recent) > RECENT:
            self._recent.clear()
        known |= fresh
        self._recent |= known
        return [known[keys[text]] for text in texts]

    def forget(self, texts: Sequence[str]) -> None:
        """Removes what is cached of these texts."""
        if self._cache:
            self._cache.remove([self._name(text) for text in texts])

    def _name(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")[:16]

    def _search(self, texts: list[str]) -> list[Found]:
        if not texts:
            return []
        characters = sum(map(len, texts))
        engine = self._chosen(characters)
        if self._pool is None and characters >= CORES_PAY and self._cores > 1:
            _each(engine, [SENTENCE])
            self._pool = ProcessPoolExecutor(
                self._cores, multiprocessing.get_context("fork"), _begin, (engine, os.getpid())
            )
        chunks = [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)]
        if self._pool is not None:
            try:
                return [found for part in self._pool.map(_many, chunks) for found in part]
            except BrokenProcessPool:
                # A process was killed, for memory most likely: go on in this one alone.
                self._pool, self._cores = None, 1
        return [found for chunk in chunks for found in _each(engine, chunk)]

    def _chosen(self, characters: int) -> Engine:
        if self._fast is None and (characters >= FILTER_PAYS or self._is_prepared):
            self._fast = fastest(self.plain, self._kept)
        return self._fast or self.plain

    @cached_property
    def _is_prepared(self) -> bool:
        return bool(self._kept and self._kept.read())


def _each(engine: Engine, texts: list[str]) -> list[Found]:
    engine.expect(texts)
    return [_one(engine, text) for text in texts]


def _one(engine: Engine, text: str) -> Found:
    try:
        spans = exclusions.without(text, disguise.find(engine, text))
        return Found(tuple(spans), engine.language(text))
    except Unscanned as problem:
        return Found(problem=str(problem))


# --- processes ------------------------------------------------------------------------------------


_inherited: Engine | None = None
"""The engine of a forked process."""


def _begin(engine: Engine, parent: int) -> None:
    """Makes a forked process end with its parent and ignore Ctrl-C."""
    import ctypes

    global _inherited
    _inherited = engine
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    death_signal = 1  # PR_SET_PDEATHSIG, prctl(2)
    ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _many(texts: list[str]) -> list[Found]:
    if _inherited is None:
        raise RuntimeError("not a process of the pool")
    return _each(_inherited, texts)


# --- cache ----------------------------------------------------------------------------------------


class _Cache:
    """Spans by key in a SQLite file that several processes may share. Any failure switches it
    off.
    """

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists() and path.stat().st_size > CACHE_BYTES:
                path.unlink()
            self._connection = sqlite3.connect(path, timeout=10, isolation_level=None)
            for line in ("journal_mode=WAL", "synchronous=OFF"):
                self._connection.execute(f"PRAGMA {line}")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS spans (key BLOB PRIMARY KEY, found TEXT NOT NULL)"
                " WITHOUT ROWID"
            )
        except (sqlite3.Error, OSError) as error:
            self.close()
            damaged = isinstance(error, sqlite3.DatabaseError)
            if damaged and not isinstance(error, sqlite3.OperationalError):
                path.unlink(missing_ok=True)  # not a database: the next run begins a new one

    def get(self, keys: list[bytes]) -> dict[bytes, Found]:
        """The cached findings of `keys`."""
        known: dict[bytes, Found] = {}
        if self._connection is None:
            return known
        try:
            for at in range(0, len(keys), 500):
                part = keys[at : at + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, found FROM spans WHERE key IN ({marks})"  # noqa: S608 - marks
                rows = self._connection.execute(query, part)
                known.update((key, _found(text)) for key, text in rows)
        except (sqlite3.Error, ValueError, TypeError):
            self.close()
            return {}
        return known

    def put(self, found: dict[bytes, Found]) -> None:
        """Adds findings."""
        if self._connection is None or not found:
            return
        rows = [(key, _text(one)) for key, one in found.items()]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR IGNORE INTO spans VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self.close()

    def remove(self, keys: Sequence[bytes]) -> None:
        """Removes findings; their bytes are overwritten."""
        if self._connection is None:
            return
        try:
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.executemany(
                "DELETE FROM spans WHERE key = ?", [(key,) for key in keys]
            )
        except sqlite3.Error:
            self.close()

    def close(self) -> None:
        """Closes the file; nothing is read or written afterwards."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _text(found: Found) -> str:
    return json.dumps([found.language, *map(astuple, found.spans)])


def _found(text: str) -> Found:
    language, *rows = json.loads(text)
    spans = (
        Span(int(start), int(end), str(entity), float(score), str(by))
        for start, end, entity, score, by in rows
    )
    return Found(tuple(spans), str(language))
