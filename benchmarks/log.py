"""The log at size: signing and appending a statement, verifying everything, a proof.

python -m benchmarks.log 1000000        by itself, with as many entries
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.envelope import sign_payload
from governance.attest.keys import Signer, public_key
from governance.attest.predicates import (
    Artifact,
    Code,
    DataCounts,
    Environment,
    Ingest,
    Origin,
    Requester,
    Run,
)
from governance.base.model import Model
from governance.history.verify import TrustAnchors, verify_log
from governance.log import evidence, merkle
from governance.log.checkpoint import signed_in_turn
from governance.log.copies import extend
from governance.log.port import Entry
from governance.log.sqlite import SqliteLog
from governance.machine.signers import private_signer
from governance.machine.workers import in_processes

ENTRIES = 100_000
BATCH = 10_000
PROJECT = "bench"
DIGEST = "d" * 64


def rows(say: Callable[[str], None], entries: int = ENTRIES) -> list[tuple[str, str, str, str]]:
    """Lines of the benchmark's table."""
    cores = len(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        say(f"log of {entries:,} entries: signing them")
        fill(path, entries)
        say("log: signing and appending one at a time, verifying, proofs")
        appended = appending(path)
        seconds, memory, there = verified(path)
        proof = proving(path)
        bare = plain(path) / cores
    rate = there / seconds
    return [
        (
            "sign and append one statement",
            f"{1000 * appended:.1f} ms",
            "-",
            f"to a log of {entries:,}",
        ),
        (
            f"verify a log of {there:,} entries",
            f"{seconds:.1f} s, {memory:.0f} MB",
            f"{seconds / there / bare:.2f} times its signatures alone, by OpenSSL",
            f"{rate:,.0f} entries/s on {cores} cores",
        ),
        (
            "inclusion proof from it, made and verified",
            f"{1000 * proof:.2f} ms",
            "-",
            "opening the database included",
        ),
    ]


def fill(path: Path, entries: int) -> None:
    """A log with this many entries. Each is a signed statement of usual size."""
    author = key(1)
    log = SqliteLog(path, PROJECT, key(2))
    said = Origin(project=PROJECT, policy=DIGEST, checkpoint_key=key(2).public_pem, run=run(),
                  development_keys=[author.public_pem])  # fmt: skip
    evidence.record(
        log, author, "origin", [Artifact(role="policy", name="policies", sha256=DIGEST)], said
    )
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for batch in pool.map(
            signed, range(1, entries, BATCH), [entries] * len(range(1, entries, BATCH))
        ):
            extend(log, batch)


def signed(start: int, entries: int) -> list[tuple[Entry, Sequence[str]]]:
    """One batch of entries with their subjects."""
    return [statement(index) for index in range(start, min(start + BATCH, entries))]


def statement(index: int) -> tuple[Entry, Sequence[str]]:
    """Entry `index`: an ingested dataset."""
    author = key(1)
    subject = Artifact(
        role="records", name=f"data/x{index}", sha256=sha256_bytes(str(index).encode())
    )
    said = evidence.build_statement("ingest", [subject], predicate(index))
    identity = evidence.identity_of(said, author.keyid)
    envelope = sign_payload(canonical.dumps(said), author)
    scope = evidence.scope_of("ingest", None, identity)
    return Entry(index, envelope, merkle.leaf_hash(envelope), identity, scope, "ingest"), [
        subject.sha256
    ]


def predicate(index: int) -> Model:
    """Its predicate; 1.4 kB as JSON."""
    return Ingest(
        stage=f"ingest@x{index}",
        inputs=[
            Artifact(
                role="source",
                name=f"data/source/x{index}.jsonl",
                sha256=sha256_bytes(b"%d" % index),
            )
        ],
        parameters={"seed": 1, "rate": 0.25, "label": "größe", "limit": None},
        policy=DIGEST,
        code=Code(commit="0" * 40, dirty=False),
        environment=Environment(
            python="3.11.7", platform="Linux-x86_64", versions={"x": "1.0"}, distributions=DIGEST
        ),
        run=run(),
        dataset=f"x{index}",
        kind="prompt",
        record_key="development",
        fields_unused={},
        counts=DataCounts(
            records_in=10,
            records_out=8,
            excluded={"DUPLICATE": 2},
            splits={"train": 8},
            records_root=DIGEST,
            excluded_root=DIGEST,
        ),
    )


def run() -> Run:
    """The run that it records."""
    return Run(
        started="2026-11-20T12:00:00.000Z",
        finished="2026-11-20T12:01:00.000Z",
        seconds=60.5,
        requested_by=Requester(name="ada", authenticated=False),
        detail={"peak_memory_bytes": 1 << 30},
    )


def appending(path: Path, times: int = 50) -> float:
    """Seconds to sign and append one statement, the middle of several."""
    log, author, taken = SqliteLog(path, PROJECT, key(2)), key(1), []
    for number in range(times):
        subject = [Artifact(role="records", name="data/more", sha256=DIGEST)]
        began = time.perf_counter()
        evidence.record(log, author, "ingest", subject, predicate(-1 - number))
        taken.append(time.perf_counter() - began)
    return sorted(taken)[times // 2]


def verified(path: Path) -> tuple[float, float, int]:
    """Seconds, megabytes and entries, of a process of its own that verifies everything."""
    command = [sys.executable, "-m", "benchmarks.log", "verify", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory, entries = json.loads(done.stdout)
    return seconds, memory, entries


def verify(path: Path) -> tuple[float, float, int]:
    """As `verified`, in this process. Memory: this process, and the largest it started times their
    number.
    """
    log, pins = SqliteLog(path, PROJECT), TrustAnchors(checkpoint_key=key(2).public_pem)
    began = time.perf_counter()
    report = verify_log(log, PROJECT, {}, pins, run=in_processes())
    seconds = time.perf_counter() - began
    if not report.ok:
        sys.exit(f"the log does not verify: {report.broken}")
    own, others = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return seconds, (own + len(os.sched_getaffinity(0)) * others) / 1024, report.entries


def plain(path: Path, times: int = 2000) -> float:
    """Seconds to do nothing but check one entry's signature, on one core, with the library
    everybody has.
    """
    public = Ed25519PublicKey.from_public_bytes(public_key(key(1).public_pem).raw)
    read = [
        json.loads(entry.envelope) for entry in islice(SqliteLog(path, PROJECT).entries(), times)
    ]
    payloads = [b64decode(one["payload"]) for one in read]
    signed = [
        b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
        for payload in payloads
    ]
    signatures = [b64decode(one["signatures"][0]["sig"]) for one in read]
    began = time.perf_counter()
    for signature, data in zip(signatures, signed, strict=True):
        public.verify(signature, data)
    return (time.perf_counter() - began) / times


def proving(path: Path, times: int = 50) -> float:
    """Seconds for an inclusion proof, made and verified, the middle of several over the whole
    log.
    """
    log, taken = SqliteLog(path, PROJECT), []
    size, note = log.head()
    root = signed_in_turn(note, [(0, key(2).public_pem)], "checkpoint").root
    for number in range(times):
        index = number * (size // times)
        began = time.perf_counter()
        merkle.verify_inclusion(
            log.entry(index).leaf_hash, index, size, log.inclusion_proof(index, size), root
        )
        taken.append(time.perf_counter() - began)
    return sorted(taken)[times // 2]


_KEYS: dict[int, Signer] = {}


def key(number: int) -> Signer:
    """A fixed key. Only this benchmark trusts it."""
    if number not in _KEYS:
        data = Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _KEYS[number] = private_signer(data, "benchmark")
    return _KEYS[number]


def main() -> None:
    """Runs this benchmark alone."""
    if sys.argv[1:2] == ["verify"]:
        sys.stdout.write(json.dumps(verify(Path(sys.argv[2]))) + "\n")
        return
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    for row in rows(partial(print, file=sys.stderr), entries):
        sys.stdout.write(" | ".join(row) + "\n")


if __name__ == "__main__":
    main()
