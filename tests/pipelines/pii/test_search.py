"""Searching many texts: nothing twice, the cache changes nothing and holds no text, processes end
with their parent.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.pii import search as pii_search
from pipelines.pii.engine import Engine, PlainEngine, Span, Unscanned
from pipelines.pii.search import Found, Search
from tests.conftest import ROOT
from tests.pipelines.policies import pii, shipped_pii
from tests.project import wait_for

ENGINE = PlainEngine(pii(), ROOT)
OWN = {"name": "own", "entity": "OWN", "patterns": [{"name": "own", "regex": "own"}]}
TEXTS = ["Write to anna@example.com.", "nothing here", "Call +44 20 7946 0123", "nothing here"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "pii.sqlite"


def search(
    cache: Path | None, texts: list[str] = TEXTS, key: bytes = b"key", engine: PlainEngine = ENGINE
) -> tuple[list[Found], int]:
    with Search(engine, cache, key) as searcher:
        return searcher.find(texts), searcher.searched


def test_each_different_text_is_searched_once_and_the_next_run_searches_none(cache: Path) -> None:
    first, searched = search(cache)
    assert searched == 3
    entities = [[one.entity for one in found.spans] for found in first]
    assert entities == [["EMAIL_ADDRESS", "URL"], [], ["PHONE_NUMBER"], []]
    assert search(cache) == (first, 0)
    assert search(None) == (first, 3)


def test_another_key_and_another_configuration_find_nothing_in_the_cache(cache: Path) -> None:
    search(cache)
    assert search(cache, key=b"other")[1] == 3
    assert search(cache, engine=PlainEngine(pii(threshold=0.9), ROOT))[1] == 3


def test_the_cache_holds_no_text(cache: Path) -> None:
    search(cache)
    held = b"".join(path.read_bytes() for path in cache.parent.iterdir())
    assert b"EMAIL_ADDRESS" in held
    for piece in (b"anna", b"example", b"7946"):
        assert piece not in held


@pytest.mark.parametrize("spoil", ["garbage", "folder", "values"])
def test_a_spoilt_cache_costs_time_and_nothing_else(cache: Path, spoil: str) -> None:
    expected, _ = search(cache)
    if spoil == "values":
        with sqlite3.connect(cache) as connection:
            connection.execute("UPDATE spans SET found = 'no JSON'")
    else:
        for path in cache.parent.iterdir():
            path.unlink()
        cache.mkdir() if spoil == "folder" else cache.write_bytes(b"no database" * 1000)
    assert search(cache) == (expected, 3)


@pytest.mark.slow
def test_two_processes_share_a_cache(cache: Path) -> None:
    script = f"""
from pathlib import Path
from tests.pipelines.pii.test_search import search
texts = [f"mail a{{number}}@example.com" for number in range(300)]
for start in range(0, 300, 20):
    search(Path({str(cache)!r}), texts[start:start + 20])
"""
    command = [sys.executable, "-c", script]
    both = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [(one.communicate()[1], one.returncode) for one in both] == [("", 0), ("", 0)]
    assert search(cache, [f"mail a{number}@example.com" for number in range(300)])[1] == 0


def test_a_text_that_could_not_be_searched_is_not_cached(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: PlainEngine, text: str) -> list[Span]:
        raise Unscanned("a pattern took longer")

    with monkeypatch.context() as patch:
        patch.setattr(PlainEngine, "find", fail)
        assert search(cache, ["mail a@example.com"])[0][0].problem == "a pattern took longer"
    found, searched = search(cache, ["mail a@example.com"])
    assert searched == 1 and found[0].spans and not found[0].problem


def test_a_short_search_uses_the_filter_where_its_patterns_are_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hyperscan")
    expected, _ = search(None)
    with Search(ENGINE, cache, b"key") as first:
        assert first.find(TEXTS) == expected
        assert first._fast is None
    monkeypatch.setattr(pii_search, "FILTER_PAYS", 0)
    search(cache, ["something else"])
    monkeypatch.undo()
    cache.unlink()
    for key, engine, is_fast, is_same in (
        (b"key", ENGINE, True, True),
        (b"other", ENGINE, False, True),
        (b"key", PlainEngine(pii(threshold=0.9), ROOT), True, False),
        (b"key", PlainEngine(pii(recognizers=[OWN]), ROOT), False, True),
    ):
        with Search(engine, cache, key) as later:
            assert (later.find(TEXTS) == expected) == is_same
            assert (later._fast is not None) == is_fast


@pytest.mark.slow
def test_a_run_with_nothing_new_loads_no_patterns_weights_or_languages(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pii_search, "FILTER_PAYS", 0)
    texts = [*TEXTS, "My friend Anna Weber wrote this text from her house in London."]
    expected, _ = search(cache, texts, engine=PlainEngine(shipped_pii(), ROOT))
    engine = PlainEngine(shipped_pii(), ROOT)
    with Search(engine, cache, b"key") as again:
        assert (again.find(texts), again.searched) == (expected, 0)
        assert again._fast is None
    tagger = next(source for source in engine.names if source.name == "Tagger")
    assert "_vectors" not in vars(tagger)
    assert "_identifier" not in vars(engine._language)


def test_processes_find_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        f"mail a{number}@example.com or nothing" if number % 3 else f"text {number}"
        for number in range(900)
    ]
    alone, _ = search(None, texts)
    monkeypatch.setattr(pii_search, "CORES_PAY", 1)
    with Search(ENGINE, None, b"") as searcher:
        searcher._cores = 2
        assert searcher.find(texts) == alone
        assert searcher._pool is not None


def test_a_killed_process_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    parent, one = os.getpid(), pii_search._one

    def die(engine: Engine, text: str) -> Found:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return one(engine, text)

    monkeypatch.setattr(pii_search, "CORES_PAY", 1)
    monkeypatch.setattr(pii_search, "_one", die)
    with Search(ENGINE, None, b"") as searcher:
        searcher._cores = 2
        assert [bool(found.spans) for found in searcher.find(TEXTS)] == [True, False, True, False]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    script = """
import sys, time, pathlib
from pipelines.pii import search as pii_search
from tests.pipelines.pii.test_search import ENGINE
pii_search.CORES_PAY = 1
with pii_search.Search(ENGINE, None, b"") as search:
    search._cores = 2
    search.find(["a@example.com"])
    pathlib.Path(sys.argv[1]).write_text("ready")
    time.sleep(3600)
"""
    ready = tmp_path / "ready"
    parent = subprocess.Popen([sys.executable, "-c", script, str(ready)], cwd=ROOT)
    wait_for(ready.exists, 300, "it searches")
    children = psutil.Process(parent.pid).children()
    assert children
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=300)
    for one in alive:
        one.kill()
    assert not alive
