"""What governance costs by the piece: a statement signed and logged, a promotion, a model folder
verified.

Against the same without it: a row inserted and committed, MLflow's own alias setter, sha256 of the
same files. Medians, in turns, in one process, on a log and a registry of their own.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.scanning import timed

STATEMENTS = 200
PROMOTIONS = 8
MEGABYTES = 256

Row = tuple[str, str, str, str]


def rows(say: Callable[[str], None]) -> list[Row]:
    """Lines of the benchmark's table."""
    with TemporaryDirectory(prefix="countersign-bench-") as name:
        folder = Path(name)
        say("a statement signed and logged; a promotion")
        return [*_log_and_registry(folder), _folder(folder)]


def _log_and_registry(folder: Path) -> list[Row]:
    from governance.machine.machine import signer
    from governance.registry.mlflow import open_registry
    from governance.registry.rows import move_alias
    from governance.release.promotion import Promoter
    from tests.governance.governed import governed
    from tests.governance.story import MODEL

    scene = governed(folder / "scene")
    story = scene.story
    statement, row = _statements(scene, folder)
    client = open_registry(story.machine)._client
    client.create_registered_model(MODEL)
    for _ in range(2):
        client.create_model_version(MODEL, str(folder), None)
    client.create_registered_model("plain")
    client.create_model_version("plain", str(folder), None)
    story.train("sft", "sft", "conversation", "desk_sft", "base")
    story.register("sft", "2")
    promoter = Promoter(story.log, signer(story.machine), move_alias, story.asked, story.now)
    ours, plain = [], []
    for number in range(PROMOTIONS):
        version = "2" if number % 2 == 0 else "1"
        if number < 2:  # then both are approved, and go to and fro
            _approve(scene, version)
        ours.append(
            timed(
                lambda v=version: (
                    _request(scene, v),
                    promoter.consume(MODEL, v, "champion", "bench"),
                )
            )
        )  # type: ignore[misc]
        plain.append(timed(lambda: client.set_registered_model_alias("plain", "champion", "1")))
    return [
        _line("a statement signed and logged", statement, "a row inserted and committed", row),
        _line(
            f"a promotion (request, decision, move; log of {story.log.size()} entries)",
            statistics.median(ours),
            "MLflow's alias setter",
            statistics.median(plain),
        ),
    ]


def _statements(scene: Any, folder: Path) -> tuple[float, float]:
    from governance.log import evidence
    from governance.machine.machine import signer
    from tests.governance.examples import artifact, ingest

    story, who = scene.story, signer(scene.story.machine)
    database = sqlite3.connect(folder / "plain.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, value BLOB)")
    ours, plain = [], []
    for number in range(STATEMENTS):
        said = ingest(f"ingest@x{number}")
        ours.append(
            timed(
                lambda p=said: evidence.record(story.log, who, "ingest", [artifact("records")], p)
            )
        )  # type: ignore[misc]
        plain.append(
            timed(
                lambda: database.execute("INSERT INTO row (value) VALUES (?)", (os.urandom(2000),))
            )
        )
    database.close()
    return statistics.median(ours), statistics.median(plain)


def _approve(scene: Any, version: str) -> None:
    frozen = scene.freeze(version)
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)


def _request(scene: Any, version: str) -> None:
    """cleo requests the version. Its bytes may differ from those that the story made last."""
    from governance.release import promotion

    registered = promotion.state(scene.story.log).registration("support-desk", version).predicate
    scene.request(version, model_digest=registered.model_digest)


def _folder(folder: Path) -> Row:
    """A folder of one large safetensors file, against the plain sha256 of it."""
    from governance.attest import digests
    from governance.models import folder as modelfolder
    from tests.governance.story import safetensors

    model = folder / "model"
    model.mkdir()
    numbers = MEGABYTES << 20
    header = {"a": {"dtype": "U8", "shape": [numbers], "data_offsets": [0, numbers]}}
    (model / "model.safetensors").write_bytes(safetensors(header, numbers))
    (model / "config.json").write_text("{}")
    files, digest = digests.manifest(model), digests.tree_digest(model)
    ours, plain = [], []
    for _ in range(5):
        ours.append(timed(lambda: modelfolder.enforce(model, files, digest)))
        plain.append(timed(lambda: _sha256(model / "model.safetensors")))
    what = f"a model folder of {MEGABYTES} MiB verified"
    return _line(what, statistics.median(ours), "sha256 of its weights", statistics.median(plain))


def _sha256(path: Path) -> None:
    with path.open("rb") as stream:
        hashlib.file_digest(stream, "sha256")


def _line(what: str, ours: float, alternative: str, plain: float) -> Row:
    difference = f"{(ours - plain) * 1000:+,.1f} ms, {ours / plain:.1f} times"
    return what, f"{ours * 1000:,.1f} ms", f"{alternative}: {plain * 1000:,.1f} ms", difference
