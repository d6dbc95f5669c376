"""How long a reviewer waits to verify a bundle, for a report, and for an index of 1,000 versions.

The bundle against its signatures alone, by OpenSSL; report and index against verifying the log that
they are of, which both do first. Medians, in one process, on logs of their own.
"""

from __future__ import annotations

import statistics
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from benchmarks.scanning import timed

STATEMENTS = 500
VERSIONS = 1000
TIMES = 3

Row = tuple[str, str, str, str]


def rows(say: Callable[[str], None]) -> list[Row]:
    """Lines of the benchmark's table."""
    with TemporaryDirectory(prefix="countersign-bench-") as folder:
        say(f"a bundle of {STATEMENTS} statements")
        bundle = _bundle(Path(folder) / "bundle")
        say(f"report and index of a log of {VERSIONS:,} versions")
        return [bundle, *_reports(Path(folder) / "many")]


def _bundle(folder: Path) -> Row:
    from governance.bundle import verify_bundle
    from governance.history.state import state
    from governance.history.verify import TrustAnchors
    from tests.governance.bundles import made, opened, pin
    from tests.governance.governed import governed

    scene = governed(folder)
    for number in range(STATEMENTS - 30):
        scene.story.evaluate("sft", 0.9 + number / 10_000)
    scene.released()
    log = scene.story.log
    file, pins, known = made(log), TrustAnchors(pin(log)), state(log).authority.keys
    envelopes = [entry["envelope"] for entry in opened(file)["entries"]]
    if not verify_bundle(file, pins).ok:
        raise SystemExit("bench: the bundle does not verify")
    ours = _median(lambda: verify_bundle(file, pins))
    plain = _median(lambda: _signatures(envelopes, known))
    return _line(
        f"a bundle of {len(envelopes)} statements verified",
        ours,
        "its signatures alone, by OpenSSL",
        plain,
    )


def _signatures(envelopes: list[Any], known: Any) -> None:
    keys = {keyid: load_pem_public_key(pem.encode()) for keyid, pem in known.items()}
    for envelope in envelopes:
        kind, payload = envelope["payloadType"].encode(), b64decode(envelope["payload"])
        said = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        (one,) = envelope["signatures"]
        key = keys.get(one["keyid"])
        if isinstance(key, Ed25519PublicKey):
            key.verify(b64decode(one["sig"]), said)


def _reports(folder: Path) -> list[Row]:
    from governance.report import index
    from governance.report.build import build
    from governance.report.html import page
    from tests.governance.many import many
    from tests.governance.story import MODEL

    scene = many(folder, VERSIONS)
    log = scene.story.log

    def whole() -> None:
        sources = scene.story.sources
        index.page(index.index(sources.read[0], sources.verified, scene.now))

    verified = _median(lambda: scene.story.sources.verified)
    report = _median(lambda: page(build(scene.story.sources, MODEL, str(VERSIONS))))
    size = f"log of {log.size():,} entries"
    return [
        _line(f"the report of one version, {size}", report, "verifying that log alone", verified),
        _line(
            f"the index of {VERSIONS:,} versions",
            _median(whole),
            "verifying that log alone",
            verified,
        ),
    ]


def _median(work: Callable[[], object]) -> float:
    return statistics.median(timed(work) for _ in range(TIMES))


def _line(what: str, ours: float, alternative: str, plain: float) -> Row:
    return (
        what,
        f"{ours:,.2f} s",
        f"{alternative}: {plain:,.2f} s",
        f"{ours - plain:+,.2f} s, {ours / plain:.1f} times",
    )
