"""The certificate of an erasure as a self-contained page, for the person and for the file. It says
what the signed statements say, and names no person, value or record.
"""

from __future__ import annotations

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Artifact, Erased, Erasure
from governance.history import erasures
from governance.log.evidence import Evidence
from governance.release.erasure_certificate import NOT_REMOVED, PLACES
from governance.report import html

COUNTED = {
    "records": "records",
    "derived": "of them generated from others",
    "datasets": "datasets",
    "contents": "versions of their steps",
    "answers": "files of stored answers",
    "models": "trained models",
    "versions": "registered versions",
}
"""What an erasure affects, by its code."""


def page(erasure: Evidence[Erasure], done: Evidence[Erased], envelope: bytes, file: str) -> bytes:
    """The page. `envelope`: the bytes of the certificate, whose name is `file`."""
    templates = html.environment()
    said = done.predicate
    rendered = templates.get_template("erasure.html.j2").render(
        asked=erasure.predicate,
        done=said,
        entries={"erasure": erasure.index, "done": done.index},
        affected=_named(erasure.predicate.counts, COUNTED),
        removed=_named(said.removed, PLACES),
        found=_named(said.found, PLACES),
        not_removed=_named(said.not_removed, NOT_REMOVED),
        models=_subjects(erasure, erasures.MODEL),
        datasets=_subjects(erasure, erasures.DATASET),
        file=file,
        generator=html.generator(),
        twin=sha256_bytes(envelope),
        style=html.style(templates),
    )
    return rendered.encode("utf-8")


def _named(counts: dict[str, int], names: dict[str, str]) -> list[tuple[str, int]]:
    return [(names.get(name, name), count) for name, count in counts.items() if count]


def _subjects(erasure: Evidence[Erasure], role: str) -> list[Artifact]:
    return [each for each in erasure.subjects if each.role == role]
