"""Check a Countersign bundle without Countersign: one file, two dependencies.

It needs Python 3.11 or newer, `cryptography` (43 or newer) and `ruamel.yaml`. It was written from
`docs/formats.md` alone, imports nothing of Countersign, and is tested against it on every bundle
of the test suite. Numbers in comments are sections and steps of that page.

    pip install cryptography ruamel.yaml
    python verifier.py FILE.bundle --origin SHA256

`--origin` is the SHA-256 of entry 0 of the log, or the id of its checkpoint key. Get it another
way than from the person who gave you the bundle. Exit code 0: the bundle verifies and is complete.
Exit code 5: it does not verify, nothing establishes its origin, or nothing shows that no entry
about the model was left out (a bundle from before the log signed an index of each model).

What is checked: the bundle's form and seal; that every entry is in the signed Merkle tree; that all
entries that the log's signed index of the model counts are here; every signature; that every
statement the version rests on is present; and for each move of a governed alias, the findings of
`REPEATED`. What is not checked: the findings of `RELIED_ON`, which the lines `relies on` name
(Countersign repeats the whole decision); the model's own files.

"Verifies" does not mean "approved". Read the lines `moves` and `against`: an open incident, a
rejection, or a later move takes nothing away from a move that was rightly allowed before.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import sys
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
    load_ssh_public_key,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

MEMBERS = {"format", "model", "version", "checkpoint", "entries", "files", "growth", "seal"}
OPTIONAL = {"index", "cosigned"}
STAGES = (
    *("ingest", "scan", "quality", "base", "gate", "train", "evaluate"),
    *("registration", "promotion"),
)
GRANTED = (*STAGES, "rollout_window", "rollout_reaction")
"""The kinds that policy lets a service sign, as far as they are read here."""
REPEATED = """
    POLICY_NOT_SIGNED MODEL_UNKNOWN ALIAS_UNKNOWN ALIAS_NOT_PERMITTED WITNESSES_MISSING
    REQUEST_MISSING REQUEST_NOT_ENTITLED REQUEST_MISMATCH REQUEST_CONFLICT REQUEST_EXPIRED
    REQUEST_SPENT REQUESTER_UNKNOWN REGISTERED_TWICE RETIRED NEVER_RELEASED ROLLBACK_TARGET
    SECOND_SIGNATURE_OVERDUE PACKET_MISSING PACKET_OUT_OF_DATE REJECTED APPROVAL_MISSING
    WAIVER_NOT_IN_FORCE INCIDENT_OPEN CANARY_MISSING COMMIT_NOT_PERMITTED BUILDER_NOT_PERMITTED
    SEPARATE_EVALUATOR BASE_NOT_ALLOWED BASE_CHANGED LICENCE_NOT_PERMITTED GATE_MISSING
    EVIDENCE_MISSING EVIDENCE_INCONSISTENT DECISION_NOT_REPRODUCED IMPORT_NOT_ALLOWED
    IMPORT_NOT_DECLARED IMPORT_TRAINED_BEFORE PARENT_WITHDRAWN SCORER_WITHDRAWN RECORDS_TWICE
    SUITE_TRAINED_ON OTHER_NAME_WITHDRAWN REVIEW_OVERDUE REVIEW_LAPSED REVIEW_STOPS_SERVING
"""
"""The findings for which a move is refused here. Those that `RELIED_ON` has, too, are repeated in
part.
"""
RELIED_ON = {
    "the data, its scan, quality gate, datacard and leak check, at every gate": """
    FIELDS_NOT_PERMITTED KIND_UNFIT SCAN_NOT_PASSED SCAN_OUT_OF_DATE PII_REMAINING NER_REQUIRED
    ERASED_DATA_USED ALLOWANCE_ENDED RECALL_NOT_MEASURED RECALL_TOO_LOW QUALITY_NOT_PASSED
    SUITE_OUT_OF_DATE SUITE_NOT_DECLARED GUIDELINE_DIFFERS RATERS_LEFT_OUT RATERS_AGREE_TOO_LITTLE
    HELD_OUT_UNCHECKED TASK_NOT_SCANNED
    DATACARD_MISSING DATACARD_INCOMPLETE DATACARD_EXPIRED PURPOSE_NOT_PERMITTED
    REGION_NOT_PERMITTED CLASSIFICATION_NOT_PERMITTED LAWFUL_BASIS_NOT_PERMITTED
    LICENCE_NOT_PERMITTED SOURCE_CHANGED SOURCE_UNPINNED""",
    "what generated data was made from, by what, and which judges count": """
    CONSTITUTION_MISSING CONSTITUTION_CHANGED ENDPOINT_NOT_PERMITTED GENERATED_NOT_DECLARED
    JUDGE_NOT_CHECKED JUDGE_CARD_EXPIRED JUDGE_FAILED JUDGE_OPTIMISED_FOR""",
    "the data that is declared of a model trained elsewhere": """
    IMPORT_DATA_UNKNOWN PURPOSE_NOT_PERMITTED REGION_NOT_PERMITTED CLASSIFICATION_NOT_PERMITTED
    LAWFUL_BASIS_NOT_PERMITTED LICENCE_NOT_PERMITTED""",
    "the scores, with intervals, slices and comparisons": """
    THRESHOLDS_MISSING THRESHOLD_NOT_MET SLICE_NOT_MET WORSE_THAN_REFERENCE NOT_COMPARABLE
    EVALUATION_INCOMPLETE EVALUATION_OUT_OF_DATE SUITE_UNPINNED METRIC_CHANGED""",
    "whether people rejected a model behind the version, or its bytes under another name": """
    PARENT_WITHDRAWN SCORER_WITHDRAWN OTHER_NAME_WITHDRAWN""",
    "how the models behave on held-out prompts": """
    DEGENERATE_OUTPUT OVER_OPTIMISED REWARD_HACKED REWARD_MODEL_NOT_BETTER RANKED_BY_LENGTH
    NO_LEARNING_SIGNAL EVALUATION_INCOMPLETE NOT_COMPARABLE""",
    "what the models give away of their training data": """
    TRAINING_DATA_LEAKS LEAKS_NOT_MEASURED""",
    "the objective, the rewards, and what people approved before training": """
    OBJECTIVE_UNKNOWN REWARD_NOT_PERMITTED APPROVAL_MISSING""",
    "how many of their records the trainings used": "RECORDS_NOT_USED RECORDS_NOT_COUNTED",
    "the names of the model's files": "UNSAFE_FILES",
    "what was erased, and by when a version is retired for it": "ERASURE_OVERDUE",
    "what the versions did in service, and whether it brings a review forward": """
    MONITORING_BREACHED ERROR_BUDGET_SPENT DRIFT_FOUND""",
    "that the packet names the statements which the log gives, the latest of each": """
    EVIDENCE_MISSING EVIDENCE_INCONSISTENT GATE_MISSING PACKET_OUT_OF_DATE ALIAS_NOT_PERMITTED
    ROLLBACK_TARGET""",
    "what was observed during a canary rollout, and what it shows": "CANARY_MISSING",
    "that a check could be carried out, and remarks beside another finding": """
    CHECK_CRASHED INCIDENT_NOT_CLOSED INCIDENT_NOT_CHECKED INCIDENT_INCOMPLETE""",
}
"""What a decision checks and this program does not, each with the codes of the findings."""
BUILT_ON = ("parent", "scorer", "generator", "judge")
"""The roles of the models that a training or a generation builds on."""
MAX_BYTES = 64 << 20
MAX_INTEGER = 2**53 - 1
POLICY_CHARACTERS = 512 << 10
DECEIVING = re.compile("[\u202a-\u202e\u2066-\u2069\x85\u2028\u2029]|\r(?!\n)")
"""Characters that reverse the order of text, and line ends that programs show inside a line."""
RULES = 3
"""The latest version of the rules that is applied here."""
LONGEST_TEXT = 2000
"""Characters of a text in a person's statement, from rules 2 on."""
MAX_POLICIES = 256 << 10
"""Bytes of the texts of proposed policies, from rules 2 on."""
DOES_NOT_VERIFY = 5
"""Exit code, the same as that of `countersign verify`; also where completeness is not shown."""
SLUG = r"[a-z][a-z0-9_-]{0,62}"
ABSENT: dict[str, dict[str, Any]] = {
    "origin": {"files": None},
    "policy": {"files": None},
    "gate": {"waived": []},
    "request": {"break_glass": False},
    "waiver": {"accepts": []},
    "registration": {"suite": None, "further": []},
    "approval": {"model": None, "alias": None, "expires": None, "opened_at": None},
    "incident": {
        **{"actions": [], "effective": "", "effective_at": None},
        **{"severity": None, "cause": ""},
    },
    "periodic_review": {"next_by": None},
    "promotion": {
        **{"action": "promote", "caller": "", "waived": []},
        **dict.fromkeys(("request", "packet", "from_version", "asked", "second_signature_by")),
    },
}
"""Members that a predicate may lack, and what it says then."""

PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FIELD = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = {0, 1, FIELD - 1, ORDER_8, FIELD - ORDER_8}
"""y of the points of Ed25519's curve whose order divides 8."""
HASHES: dict[str, HashAlgorithm] = {
    "secp256r1": SHA256(),
    "secp384r1": SHA384(),
    "secp521r1": SHA512(),
}

Json = dict[str, Any]
Key = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey


class Refused(Exception):
    """The bundle does not verify."""


UNREADABLE = (
    *(Refused, InvalidSignature, UnsupportedAlgorithm, YAMLError),
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
)
"""What malformed input raises."""


def need(holds: object, why: str) -> None:
    """Refuses the bundle unless a condition holds."""
    if not holds:
        raise Refused(why)


def sha(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


# -- 1: bytes --------------------------------------------------------------------------------------
def parse(data: bytes) -> Any:
    """A JSON value. A key given twice is refused."""

    def pairs(found: list[tuple[str, Any]]) -> Json:
        need(len(dict(found)) == len(found), "a key occurs twice in a JSON object")
        return dict(found)

    return json.loads(data.decode(), object_pairs_hook=pairs)


def canonical(value: Any) -> bytes:
    """RFC 8785, the JSON Canonicalization Scheme."""
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        members = (f"{_canonical(name)}:{_canonical(value[name])}" for name in names)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        need(abs(value) <= MAX_INTEGER, "an integer beyond 2**53 - 1")
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """As ECMAScript's Number.prototype.toString writes it; `repr` has the same, shortest digits."""
    need(math.isfinite(value), "a number that is not finite")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    parts = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, parts.digits))
    point = len(digits) + int(parts.exponent)
    if 0 < point <= 21:
        whole, fraction = digits[:point].ljust(point, "0"), digits[point:]
    elif -6 < point <= 0:
        whole, fraction = "0", "0" * -point + digits
    else:
        whole, fraction = digits[0], digits[1:]
    power = "" if -6 < point <= 21 else f"e{point - 1:+d}"
    return sign + whole + (f".{fraction}" if fraction else "") + power


def instant(text: str) -> datetime:
    """A time in RFC 3339. Texts are not compared: `09:00:00Z` is before `09:00:00.5Z`."""
    return datetime.fromisoformat(text)


def unbase(text: str) -> bytes:
    """Base64 in its one canonical form."""
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64 that is not canonical")
    return data


def load(text: str, strict: bool = True) -> tuple[str, Key]:
    """A public key, PEM or OpenSSH, with its id. `strict=False`: by version 1 of the rules."""
    text = text.strip()
    if not strict:
        data = text.encode()
        key = load_pem_public_key(data) if data.startswith(b"-----") else load_ssh_public_key(data)
    elif text.startswith("-----"):
        key = _of_pem(text)
    else:
        key = _of_line(text)
    if isinstance(key, EllipticCurvePublicKey):
        curve = key.curve.name
        need(curve == "secp256r1" or (curve in HASHES and not strict), "the curve of a key")
    elif isinstance(key, Ed25519PublicKey):
        need(not strict or _is_point(key.public_bytes_raw()), "a weak Ed25519 key")
    elif strict or not isinstance(key, RSAPublicKey):
        raise Refused("a key that is neither Ed25519 nor ECDSA P-256")
    return sha(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)), key


def _of_pem(text: str) -> Any:
    block = PEM.fullmatch(text)
    if block is None:
        raise Refused("not exactly one PEM block of a public key")
    der = base64.b64decode("".join(block[1].split()), validate=True)
    key = load_der_public_key(der)
    form = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    need(form == der, "a key that is not in its canonical form")
    return key


def _of_line(text: str) -> Any:
    need(len(text.splitlines()) == 1, "not exactly one line of a public key")
    kind, blob, *comment = [*text.split(), ""]
    need(kind in ("ssh-ed25519", "ecdsa-sha2-nistp256"), "the kind of a key")
    need(not any(word.startswith(("AAAA", "-----")) for word in comment), "a key in a comment")
    key = load_ssh_public_key(f"{kind} {blob}".encode())
    form = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    need(form == f"{kind} {blob}", "a key that is not in its canonical form")
    return key


def _y(raw: bytes) -> int:
    """The y coordinate in an encoded point of Ed25519."""
    return int.from_bytes(raw, "little") & (1 << 255) - 1


def _is_point(raw: bytes) -> bool:
    """Whether these bytes are a point of Ed25519 in canonical form, not of small order."""
    y = _y(raw)
    d = -121665 * pow(121666, -1, FIELD)
    x_squared = (y * y - 1) * pow(d * y * y + 1, -1, FIELD)
    is_square = pow(x_squared, (FIELD - 1) // 2, FIELD) in (0, 1)
    return y < FIELD and y not in SMALL_ORDER and is_square


def verify_signature(key: Key, signature: bytes, signed: bytes, strict: bool = True) -> None:
    """Raises unless the key signed these bytes. `strict=False`: as under version 1 of the rules."""
    if isinstance(key, Ed25519PublicKey):
        need(_y(signature[:32]) % FIELD not in SMALL_ORDER, "R of a signature")
        y = _y(key.public_bytes_raw())
        need(y < FIELD and y not in SMALL_ORDER, "a weak Ed25519 key")
        key.verify(signature, signed)
    elif isinstance(key, EllipticCurvePublicKey):
        r, s = decode_dss_signature(signature)
        low = s <= P256_ORDER // 2 and encode_dss_signature(r, s) == signature
        need(not strict or (low and key.curve.name == "secp256r1"), "the form of a signature")
        key.verify(signature, signed, ECDSA(HASHES[key.curve.name]))
    else:
        need(not strict, "a kind of key that is no longer accepted")
        key.verify(signature, signed, PSS(MGF1(SHA256()), PSS.AUTO), SHA256())


def listing(files: dict[str, bytes]) -> str:
    """The digest of a folder."""
    rows = [
        {"path": path, "sha256": sha(data), "size": len(data)}
        for path, data in sorted(files.items())
    ]
    return sha(canonical(rows))


def hashes(proof: list[str]) -> int:
    """How many hashes a proof has."""
    formed = isinstance(proof, list) and all(re.fullmatch(r"[0-9a-f]{64}", one) for one in proof)
    need(formed, "a proof is a list of hashes")
    return len(proof)


# -- 2: statements and envelopes -------------------------------------------------------------------
class Entry:
    """An entry of the log, read. `signer` is the key id, once `check` verified the signature."""

    def __init__(self, given: Json) -> None:
        need(set(given) == {"index", "envelope", "proof"}, "members of an entry")
        self.index, self.envelope, self.proof = given["index"], given["envelope"], given["proof"]
        need(type(self.index) is int and hashes(self.proof) <= 64, "index or proof of an entry")
        members = {"payload", "payloadType", "signatures"}
        need(set(self.envelope) == members, "members of an envelope")
        need(len(self.envelope["signatures"]) == 1, "an envelope has exactly one signature")
        self.payload = unbase(self.envelope["payload"])
        statement = parse(self.payload)
        members = {"_type", "subject", "predicateType", "predicate"}
        need(set(statement) == members and statement["subject"], "members of a statement")
        pattern = r"https://countersign\.dev/evidence/(\w+)/v1"
        kind = re.fullmatch(pattern, statement["predicateType"])
        if kind is None or statement["_type"] != "https://in-toto.io/Statement/v1":
            raise Refused("type of a statement")
        self.kind = kind[1]
        self.predicate: Json = {**ABSENT.get(self.kind, {}), **statement["predicate"]}
        self.subjects = [
            (one["annotations"]["role"], one["digest"]["sha256"]) for one in statement["subject"]
        ]
        self.digest = sha(self.payload)
        self.leaf = hashlib.sha256(b"\0" + canonical(self.envelope)).digest()
        self.keyid: str = self.envelope["signatures"][0]["keyid"]
        self.signer, self.counts, self.repeated = "", False, False

    def check(self, keys: dict[str, Key], strict: bool = True) -> None:
        """Verifies the signature."""
        kind = self.envelope["payloadType"]
        need(kind == "application/vnd.in-toto+json", "payload type")
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(self.payload), self.payload)
        need(self.keyid in keys, f"entry {self.index}: signed by an unknown key")
        signature = unbase(self.envelope["signatures"][0]["sig"])
        verify_signature(keys[self.keyid], signature, signed, strict)
        self.signer = self.keyid

    def about(self, sha256: str) -> bool:
        """Whether this digest is a subject."""
        return any(digest == sha256 for _, digest in self.subjects)


# -- 3: the tree and the checkpoint ----------------------------------------------------------------
def root_of(entry: Entry, size: int) -> bytes:
    """The root that the entry's inclusion proof leads to."""
    need(0 <= entry.index < size, "index of an entry")
    at, last, value = entry.index, size - 1, entry.leaf
    for step in map(bytes.fromhex, entry.proof):
        need(last, "an inclusion proof is too long")
        right = at % 2 or at == last
        value = hashlib.sha256(b"\1" + (step + value if right else value + step)).digest()
        while right and not at % 2 and at:
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    need(last == 0, "an inclusion proof is too short")
    return value


def checkpoint(note: str) -> tuple[str, int, bytes, list[str]]:
    """Origin, size, root and signature lines of a signed note."""
    body, _, lines = note.partition("\n\n")
    origin, size, root = body.split("\n")
    need(lines.endswith("\n") and str(int(size)) == size, "form of the checkpoint")
    return origin, int(size), unbase(root), lines[:-1].split("\n")


def model_index(note: str) -> tuple[str, str, int, int, bytes]:
    """Name, model, size of the log, number of entries and root of a model's index."""
    name, model, size, entries, root = note.partition("\n\n")[0].split("\n")
    numbers = str(int(size)) == size and str(int(entries)) == entries
    need(numbers and re.fullmatch(SLUG, model), "form of the model's index")
    return name, model, int(size), int(entries), unbase(root)


def tree_root(leaves: list[bytes]) -> bytes:
    """The root over leaf hashes (RFC 6962, 2.1)."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + tree_root(leaves[:half]) + tree_root(leaves[half:])).digest()


def consistent(old: int, size: int, root: bytes, proof: list[str]) -> tuple[bytes, bytes]:
    """The roots of the older and of the newer tree to which a consistency proof leads (RFC 9162,
    2.1.4.2). `root` is that of the older tree.
    """
    steps = [bytes.fromhex(step) for step in proof]
    if old == size:
        need(not steps, "a consistency proof of nothing")
        return root, root
    need(0 < old < size and steps, "a consistency proof")
    steps = [root, *steps] if old & (old - 1) == 0 else steps
    at, last = old - 1, size - 1
    while at % 2:
        at, last = at >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        need(last, "a consistency proof is too long")
        if at % 2 or at == last:
            first = hashlib.sha256(b"\1" + step + first).digest()
            second = hashlib.sha256(b"\1" + step + second).digest()
            while not at % 2 and at:
                at, last = at >> 1, last >> 1
        else:
            second = hashlib.sha256(b"\1" + second + step).digest()
        at, last = at >> 1, last >> 1
    need(last == 0, "a consistency proof is too short")
    return first, second


def cosigned_at(note: str, name: str, key: Ed25519PublicKey) -> int | None:
    """When a witness cosigned a checkpoint last, in seconds (C2SP tlog-cosignature). None if it did
    not, or where a line of its key does not verify.
    """
    tag = hashlib.sha256(name.encode() + b"\n\x04" + raw_key(key)).digest()[:4]
    prefix, body = f"\u2014 {name} ", note.partition("\n\n")[0] + "\n"
    lines = [line for line in checkpoint(note)[3] if line.startswith(prefix)]
    times = []
    for blob in (unbase(line[len(prefix) :]) for line in lines):
        if blob[:4] == tag:
            time = int.from_bytes(blob[4:12], "big")
            signed = f"cosignature/v1\ntime {time}\n{body}".encode()
            try:
                need(len(blob) == 76, "the length of a cosignature")
                verify_signature(key, blob[12:], signed)
            except (InvalidSignature, Refused):
                return None
            times.append(time)
    return max(times, default=None)


def raw_key(key: Key) -> bytes:
    """The bytes of an Ed25519 key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def named_witnesses(rules: Json) -> list[tuple[str, Ed25519PublicKey]]:
    """The witnesses that policies name."""
    return [(row["name"], witness_key(row["key"])) for row in rules.get("witnesses", [])]


def witness_key(text: str) -> Ed25519PublicKey:
    """A witness's public key: a C2SP vkey, PEM or OpenSSH."""
    if text.startswith(("-----", "ssh-")):
        key = load(text)[1]
    else:
        raw = unbase(text.strip().split("+", 2)[2])
        need(len(raw) == 33 and raw[0] == 4, "the key of a witness")
        key = Ed25519PublicKey.from_public_bytes(raw[1:])
    if not isinstance(key, Ed25519PublicKey):
        raise Refused("the key of a witness that is not Ed25519")
    return key


def signature_lines(tail: str) -> list[tuple[str, bytes]]:
    """Name, and key hash with signature, of each signature line of a note."""
    lines = [line.split(" ") for line in tail[:-1].split("\n")]
    formed = all(len(line) == 3 and line[0] == "\u2014" and line[1] for line in lines)
    need(formed and tail.endswith("\n") and len(lines) <= 64, "form of a signed note")
    names = all(line[1].isprintable() and not re.search(r"[\s+]", line[1]) for line in lines)
    signatures = [(line[1], unbase(line[2])) for line in lines]
    need(names and all(len(blob) > 4 for _, blob in signatures), "form of a signature line")
    return signatures


def signed_by(note: str, key: Key) -> bool:
    """Whether a note is signed once by this Ed25519 key, under the name in its first line."""
    need(isinstance(key, Ed25519PublicKey), "a checkpoint key that is not Ed25519")
    text, _, tail = note.partition("\n\n")
    origin = text.partition("\n")[0]
    raw = raw_key(key)
    tag = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()[:4]
    own = [blob[4:] for name, blob in signature_lines(tail) if (name, blob[:4]) == (origin, tag)]
    with suppress(InvalidSignature, Refused):
        for signature in own:
            verify_signature(key, signature, text.encode() + b"\n")
        return len(own) == 1
    return False


# -- 6: rights -------------------------------------------------------------------------------------
@cache
def policy_rules(text: str, strict: bool = True) -> Any:
    """The value of `policy.yaml`: YAML 1.2 without directives, tags, aliases, keys given twice,
    and merge keys (`strict=False`: with them).
    """
    need(len(text) <= POLICY_CHARACTERS, "a policy too large")
    need(not DECEIVING.search(text), "a character in YAML that shows people other text")
    reader = YAML(typ="safe", pure=True)
    for event in reader.parse(text) if set("*!%") & set(text) or "<<" in text else ():
        need(not isinstance(event, AliasEvent), "an alias in YAML")
        need(getattr(event, "tag", None) is None, "a tag in YAML")
        need(getattr(event, "version", None) is None, "a directive in YAML")
        is_merge = getattr(event, "value", None) == "<<" and not event.style
        need(not (strict and is_merge), "a merge key in YAML")
    return YAML(typ="safe", pure=True).load(text)


class Policy:
    """Recorded policies. In force from `start`, signed by their owners at `signed_at`."""

    def __init__(self, start: int, digest: str, files: dict[str, str], strict: bool) -> None:
        self.start, self.digest, self.signed_at, self.files = start, digest, -1, files
        self.strict, self.rules = strict, policy_rules(files["policy.yaml"], strict)
        self.keys: dict[str, Key] = {}
        self.owner: dict[str, Json] = {}
        for principal in self.rules["principals"]:
            for text in principal["keys"]:
                keyid, key = load(text, strict)
                self.keys[keyid], self.owner[keyid] = key, principal

        # Who may change policies: the owners, or those who recover.
        self.quorums = [self.rules[name] for name in ("owners", "recovery") if name in self.rules]

    def read(self, file: str) -> Any:
        """The value of another file, read as `policy.yaml` is."""
        return policy_rules(self.files[file], self.strict)

    def named(self, name: str, *fields: str) -> list[str]:
        """The roles in these fields of the rules with a name (`tiers`, `aliases`)."""
        rules = self.rules.get(name, {}).values()
        return [role for rule in rules for field in fields for role in rule.get(field, [])]

    @property
    def owner_roles(self) -> list[str]:
        return [role for quorum in self.quorums for role in quorum["roles"]]

    @property
    def responsible(self) -> list[str]:
        """The roles to which a rule gives a part in a release."""
        accepting = self.rules.get("waivers", {}).get("accepted_by", [])
        asking = self.named("aliases", "requesters", "break_glass")
        return [*self.named("tiers", "approvers"), *accepting, *asking, *self.owner_roles]

    def roles_for(self, kind: str, said: Json) -> list[str] | None:
        """The roles in which a person may make a statement; None for any."""
        incidents = self.rules.get("incidents", {})
        named = incidents.get("opened_by" if said.get("state") == "open" else "closed_by")
        roles: dict[str, list[str] | None] = {
            "authorization": None,
            "approval": self._approving(said) if kind == "approval" else [],
            "waiver": self.rules.get("waivers", {}).get("accepted_by", []),
            "incident": named or self.responsible,
            "intervention": incidents.get("opened_by") or self.responsible,
            "periodic_review": self._approvers(said.get("model")),
            "request": self._asking(said) if kind == "request" else [],
            "checkpoint_key": self.owner_roles,
            "erasure": self.named("tiers", "approvers"),
            "erased": self.named("tiers", "approvers"),
            "rollout": (self.rules.get("rollouts") or {}).get("requested_by", []),
            "rollout_step": self._stepping(said),
        }
        return roles.get(kind, [])

    def _asking(self, request: Json) -> list[str]:
        """Who may ask for a move. A retirement takes every alias, whichever it names."""
        rule = self.rules.get("aliases", {}).get(request["alias"])
        if rule is None and request["action"] == "retire":
            return self.named("aliases", "requesters")
        return rule.get("requesters", []) if rule else []

    def _approving(self, vote: Json) -> list[str]:
        if vote["about"] in ("policy", "checkpoint_key", "registration"):
            return self.owner_roles
        if vote["about"] == "promotion":
            return self.rules.get("seconded_by") or self.responsible
        if vote["about"] != "packet":
            return self.named("tiers", "approvers")
        return self._approvers(vote["model"])

    def _approvers(self, name: str | None) -> list[str]:
        """The roles that approve packets of a model."""
        model = self.rules["models"].get(name)
        return self.rules["tiers"][model["tier"]].get("approvers", []) if model else []

    def _stepping(self, step: Json) -> list[str]:
        """Who may make a step of a rollout."""
        rollouts = self.rules.get("rollouts") or {}
        widening, asking = rollouts.get("widened_by", []), rollouts.get("requested_by", [])
        if step.get("action") in ("start", "widen"):
            return list(widening)
        stopping = rollouts.get("stopped_by")
        return [*asking, *widening] if stopping is None else list(stopping)

    def may_revoke(self, keyid: str, author: Json) -> bool:
        """Whether a principal may revoke a key: its owner, or a policy owner."""
        own = keyid in self.owner and self.owner[keyid]["name"] == author["name"]
        owners = set(self.rules.get("owners", {}).get("roles", []))
        return own or bool(owners & set(author.get("roles", [])))

    def may_make(self, kind: str, maker: Json) -> bool:
        """Whether a principal may propose policies, or make a packet or a report."""
        roles = set(maker.get("roles", []))
        if kind == "policy":
            return maker["kind"] == "person" and bool(roles & set(self.owner_roles))
        signs = {"registration", "promotion"} & set(maker.get("signs", []))
        return bool(signs if maker["kind"] == "service" else roles & set(self.responsible))


def _gives_candidate(entry: Entry) -> bool:
    """Whether it moves `candidate`, which has a right of its own."""
    return entry.kind == "promotion" and entry.predicate["alias"] == "candidate"


def last_day(owner: Json) -> str:
    """The last day on which a principal's signature counts."""
    return str(owner.get("until") or "9999-12-31")


class Rights:
    """Who may say what, at each entry."""

    def __init__(self, entries: list[Entry]) -> None:
        origin, self.log = entries[0].predicate, entries[0].leaf.hex()
        self.log_name = f"countersign/{origin['project']}/{self.log[:16]}"
        changes = [entry for entry in entries if entry.kind == "rules"]
        self.rules: list[tuple[int, int]] = [(0, origin.get("rules", 1))]
        self.rules += [(entry.index, entry.predicate["version"]) for entry in changes]
        latest = max(version for _, version in self.rules)
        need(latest <= RULES, f"the log follows rules {latest}, which are not known here")
        self._mark_repeated(entries)
        self.development = dict(load(pem, False) for pem in origin["development_keys"])
        self.recorded: dict[str, Policy] = {}
        self.proposed: set[str] = set()
        self.periods: list[Policy] = []
        self.revoked: dict[str, int] = {}
        self.checkpoint = [(0, load(origin["checkpoint_key"]))]
        self.successors: dict[str, tuple[str, Key]] = {}
        self.signed: dict[str, list[tuple[str, str, str, str]]] = {}
        self.last_signed: dict[str, str] = {}
        self._policy(entries[0])
        self.periods.append(self.recorded.pop(entries[0].subjects[0][1]))
        readers: dict[str, Callable[[Entry], None]] = {
            "policy": self._policy,
            "revocation": self._revocation,
            "checkpoint_key": self._checkpoint_key,
            "approval": self._approval,
        }
        for entry in entries[1:]:
            need(entry.kind != "origin", "a second origin")
            if entry.kind in readers:
                readers[entry.kind](entry)

    @staticmethod
    def _mark_repeated(entries: list[Entry]) -> None:
        """Marks each statement that an earlier entry has, by the same key; events may repeat."""
        seen: set[tuple[str, str]] = set()
        for entry in entries:
            same = (entry.digest, entry.keyid)
            entry.repeated = same in seen and entry.kind not in ("call", "refusal")
            seen.add(same)

    @property
    def known(self) -> dict[str, Key]:
        """Every key that the log names."""
        keys = dict(self.development)
        for policy in (*self.recorded.values(), *self.periods):
            keys |= policy.keys
        return keys

    def person(self, name: str) -> frozenset[str]:
        """Every name of a person. Names that policies ever gave one key are one person's."""
        owners = [policy.owner for policy in self.periods]
        names, near = set[str](), {name}
        while near != names:
            names = near
            keys = {keyid for owner in owners for keyid in owner if owner[keyid]["name"] in names}
            near = {owner[keyid]["name"] for owner in owners for keyid in keys & owner.keys()}
            near |= names
        return frozenset(names)

    def at(self, index: int) -> Policy:
        """The policies in force at an entry."""
        return next((one for one in reversed(self.periods) if one.start < index), self.periods[0])

    def owner(self, keyid: str, index: int) -> Json | None:
        """The principal whose key it is at an entry."""
        return None if self.revoked.get(keyid, index) < index else self.at(index).owner.get(keyid)

    def acts(self, entry: Entry, at: datetime, now: Policy) -> bool:
        """Whether the author's last day is not before a time, by the policies of that time."""
        owner = self.owner(entry.signer, entry.index)
        if owner is None:
            return True
        same = [one for one in now.rules["principals"] if one["name"] == owner["name"]]
        owner = now.owner.get(entry.signer) or next(iter(same), owner)
        return at.date().isoformat() <= last_day(owner)

    def rules_at(self, index: int) -> int:
        """The version of the rules that judges an entry."""
        return max(version for start, version in self.rules if start < max(index, 1))

    def is_strict(self, index: int) -> bool:
        """Whether an entry has a key and a signature of section 2, and a statement of its own."""
        return self.rules_at(index) >= 2

    def is_here(self, entry: Entry) -> bool:
        """Whether a statement names this log, or no log while the rules permitted that."""
        if entry.kind == "origin":
            return True
        if entry.repeated and self.is_strict(entry.index):
            return False
        log = entry.predicate.get("log")
        return bool(log == self.log or (log is None and self.rules_at(entry.index) < 2))

    def speaks(self, entry: Entry) -> bool:
        """Whether a statement by a person was signed by that person, in a role they have."""
        owner, predicate = self.owner(entry.signer, entry.index), entry.predicate
        if owner is None or owner["kind"] != "person" or owner["name"] != predicate["principal"]:
            return False
        if predicate["role"] not in owner["roles"] or not self.is_here(entry):
            return False
        return bool(predicate["at"][:10] <= last_day(owner)) and self.permits(entry, owner)

    def permits(self, entry: Entry, owner: Json) -> bool:
        """Whether this principal may make the statement, by the table of rules 2."""
        if self.rules_at(entry.index) < 2:
            return True
        said, policy = entry.predicate, self.at(entry.index)
        if "principal" not in said:
            return policy.may_make(entry.kind, owner)
        if any(_length(text) > LONGEST_TEXT for name, text in said.items() if name != "affected"):
            return False
        if entry.kind == "authorization" and {sha256 for _, sha256 in entry.subjects} != {
            entry.signer
        }:
            return False
        if entry.kind == "revocation":
            named = any(entry.subjects[0][1] in period.keys for period in self.periods)
            return named and policy.may_revoke(entry.subjects[0][1], owner)
        roles = policy.roles_for(entry.kind, said)
        return roles is None or said["role"] in roles

    def counts(self, entry: Entry) -> bool:
        """Whether the signer had the right to make this statement."""
        if "principal" in entry.predicate:
            return self.speaks(entry)
        owner = self.owner(entry.signer, entry.index)
        named = any(entry.signer in policy.keys for policy in self.periods)
        is_development = entry.signer in self.development and not named
        if entry.kind in ("packet", "report") and not is_development:
            old = self.rules_at(entry.index) < 2
            return self.is_here(entry) and (old or bool(owner and self.permits(entry, owner)))
        if entry.kind not in GRANTED or not self.is_here(entry):
            return self.is_here(entry)
        if not is_development:
            signed = set(owner.get("signs", [])) if owner else set()
            permitting = {entry.kind, "candidate"} if _gives_candidate(entry) else {entry.kind}
            return not permitting.isdisjoint(signed)
        free = self.at(entry.index).rules["development_keys"] == "candidate"
        return free and (entry.kind != "promotion" or _gives_candidate(entry))

    def _policy(self, entry: Entry) -> None:
        files, digest = entry.predicate["files"] or {}, entry.subjects[0][1]
        contents = {path: text.encode() for path, text in files.items()}
        if files and self.is_here(entry) and listing(contents) == digest:
            with suppress(*UNREADABLE):  # unreadable policies change nothing
                strict = self.is_strict(entry.index)
                self.recorded[digest] = Policy(entry.index, digest, files, strict)
                if entry.kind == "policy" and self._proposes(entry, files):
                    self.proposed.add(digest)

    def _proposes(self, entry: Entry, files: dict[str, str]) -> bool:
        """Whether recorded policies are a proposal, which owners can sign."""
        if self.rules_at(entry.index) < 2:
            return True
        owner = self._right(entry)
        size = sum(len(path.encode()) + len(text.encode()) for path, text in files.items())
        return bool(owner and self.permits(entry, owner)) and size <= MAX_POLICIES

    def _right(self, entry: Entry) -> Json | None:
        """The principal who signed, by the policies in force."""
        if entry.keyid not in self.periods[-1].keys or not self.is_here(entry):
            return None
        entry.check(self.periods[-1].keys, self.is_strict(entry.index))
        return self.owner(entry.signer, entry.index)

    def _revocation(self, entry: Entry) -> None:
        signer, keyid, now = self._right(entry), entry.subjects[0][1], self.periods[-1]
        if signer is None or (self.rules_at(entry.index) >= 2 and not self.speaks(entry)):
            return
        if now.may_revoke(keyid, signer):
            self.revoked.setdefault(keyid, entry.index)

    def _checkpoint_key(self, entry: Entry) -> None:
        if entry.keyid in self.periods[-1].keys and self.is_here(entry):
            if self.rules_at(entry.index) >= 2 and not (self._right(entry) and self.speaks(entry)):
                return
            with suppress(*UNREADABLE):
                keyid, key = load(entry.predicate["pem"], self.is_strict(entry.index))
                need(isinstance(key, Ed25519PublicKey), "a checkpoint key that is not Ed25519")
                self.successors[keyid] = (keyid, key)

    def _approval(self, entry: Entry) -> None:
        vote, digest, now = entry.predicate, entry.subjects[0][1], self.periods[-1]
        if vote["about"] not in ("policy", "checkpoint_key"):
            return
        owner = self._right(entry)
        if owner is None or not self.speaks(entry):
            return
        signed = self.signed.setdefault(digest, [])
        if vote["decision"] != "approve" or vote["expires"] is not None:
            taken_back = (vote["principal"], vote["about"])
            alike = 2 if self.rules_at(entry.index) >= 2 else 1
            self.signed[digest] = [one for one in signed if one[:alike] != taken_back[:alike]]
            return
        if not any(vote["role"] in quorum["roles"] for quorum in now.quorums):
            return
        signed.append((vote["principal"], vote["about"], vote["role"], last_day(owner)))
        self.last_signed[digest] = max(vote["at"], self.last_signed.get(digest, ""))
        if self._quorum(digest, "" if self.rules_at(entry.index) < 2 else vote["about"]):
            self._enact(vote["about"], digest, entry.index)

    def _quorum(self, digest: str, about: str) -> bool:
        """Whether enough people signed this. Under rules 1, whatever they said that it is."""
        day = self.last_signed[digest][:10]
        votes = [
            (name, role)
            for name, named, role, until in self.signed[digest]
            if day <= until and about in ("", named)
        ]
        signed = [(self.person(name), role) for name, role in votes]
        return any(
            len({person for person, role in signed if role in quorum["roles"]}) >= quorum["people"]
            for quorum in self.periods[-1].quorums
        )

    def _enact(self, about: str, digest: str, index: int) -> None:
        now = self.periods[-1]
        if about == "checkpoint_key":
            if digest in self.successors:
                self.checkpoint.append((index, self.successors[digest]))
                del self.signed[digest]
        elif digest == now.digest:
            now.signed_at = index if now.signed_at < 0 else now.signed_at
        elif digest in self.proposed:
            with suppress(*UNREADABLE):
                files, strict = self.recorded[digest].files, self.is_strict(index)
                policy = Policy(index, digest, files, strict)
                policy.signed_at = index
                self.periods.append(policy)
                self.signed = {}


# -- 4 and 5: the bundle ---------------------------------------------------------------------------
def verify(data: bytes, origin: str | None, witnesses: tuple[str, ...] = ()) -> Json:
    """Verifies a bundle whose log begins as pinned: leaf hash of entry 0, or id of the checkpoint
    key. Returns what was verified; `moves` are the moves of governed aliases that were rightly
    allowed. `witnesses`: vkeys of witnesses that must have cosigned, whatever the policies in the
    bundle say. Raises `Refused`.
    """
    try:
        return _verify(data, origin, witnesses)
    except Refused:
        raise
    except UNREADABLE as error:
        raise Refused(f"cannot be read: {type(error).__name__}: {error}") from error


def _verify(data: bytes, pin: str | None, witnesses: tuple[str, ...]) -> Json:
    bundle, entries = _read(data)
    name, size, root, _ = checkpoint(bundle["checkpoint"])
    for entry in entries:  # 5.2
        need(root_of(entry, size) == root, f"entry {entry.index} is not in the checkpoint's tree")
    first = entries[0]
    need(first.index == 0 and first.kind == "origin", "entry 0 is not an origin")  # 5.3
    rights = Rights(entries)
    need(name == rights.log_name, "the checkpoint is of another log")
    _check_signer(bundle["checkpoint"], size, rights, "the checkpoint")
    complete = _is_complete(bundle, entries, size, rights)  # 5.9
    pins = (first.leaf.hex(), rights.checkpoint[0][1][0])
    need(pin in pins, "origin not established: give the pin with --origin")  # 5.8, before the work
    for entry in entries:  # 5.4
        entry.check(rights.known, rights.is_strict(entry.index))
        entry.counts = rights.counts(entry)
    counted = [entry for entry in entries if entry.counts]
    seen = _check_witnesses(bundle, entries[-1].index + 1, rights, witnesses)  # 5.10
    registered, moves = _version(bundle, counted, rights, complete)
    return {
        "completeness": "shown" if complete else "not shown",
        "model": bundle["model"],
        "version": bundle["version"],
        "digest": registered["model_digest"],
        "entries": len(entries),
        "size": size,
        "root": root.hex(),
        "first": first.leaf.hex(),
        "moves": moves,
        "against": against(bundle, counted, rights),
        "witnesses": seen,
        "relies_on": _relied_on(complete) if moves else {},
    }


def _relied_on(complete: bool) -> dict[str, list[str]]:
    """What the verified moves rest on that is not repeated, each with the codes of findings."""
    rest = {what: codes.split() for what, codes in RELIED_ON.items()}
    return rest if complete else {**rest, "the moves of the model's other versions": []}


def _read(data: bytes) -> tuple[Json, list[Entry]]:
    """The bundle, its form and seal checked (5.1)."""
    need(len(data) <= MAX_BYTES, "the file is too large")
    bundle = parse(data)
    need(bundle.get("cosigned") != [], "an empty member")
    named = set(bundle) - OPTIONAL == MEMBERS and bundle.get("index", "x")
    need(canonical(bundle) == data and named, "form of the bundle")
    need(bundle["format"] == "https://countersign.dev/bundle/v1", "format of the bundle")
    body = {name: value for name, value in bundle.items() if name != "seal"}
    need(sha(canonical(body)) == bundle["seal"], "the seal does not match the content")
    for name, pattern in (("model", SLUG), ("version", r"[1-9][0-9]{0,9}")):
        need(re.fullmatch(pattern, bundle[name]), f"form of the {name}")
    growth = bundle["growth"]
    if growth is not None:
        need(set(growth) == {"size", "proof"} and hashes(growth["proof"]) <= 128, "growth")
        need(type(growth["size"]) is int and growth["size"] >= 0, "size of the growth")
    for seen in bundle.get("cosigned", []):
        need(set(seen) == {"note", "proof"} and hashes(seen["proof"]) <= 128, "cosigned")
    need(1 <= len(bundle["entries"]) <= 20_000, "number of entries")
    need(len(bundle["files"]) <= 64, "number of files")
    for file in bundle["files"]:
        need(set(file) == {"name", "sha256", "text"}, "members of a file")
        need(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", file["name"]), "name of a file")
        need(sha(file["text"].encode()) == file["sha256"], "digest of a file")
    entries = [Entry(given) for given in bundle["entries"]]
    indices, digests = [one.index for one in entries], [one["sha256"] for one in bundle["files"]]
    need(indices == sorted(set(indices)), "order of the entries")
    need(digests == sorted(set(digests)), "order of the files")
    return bundle, entries


def _is_complete(bundle: Json, entries: list[Entry], size: int, rights: Rights) -> bool:
    """Whether no entry about the model is missing: all entries of the log are here, or exactly
    those that the log's signed index counts. Refuses an index of something else.
    """
    if "index" not in bundle:
        return len(entries) == size
    name, model, of_size, count, root = model_index(bundle["index"])
    _check_signer(bundle["index"], of_size, rights, "the model's index")
    log = bundle["checkpoint"].partition("\n")[0]
    need(name == f"{log}/model-index", "the model's index is of another log")
    need(model == bundle["model"], "the model's index is of another model")
    need(of_size == size, "the model's index is of another size of the log")
    missing = f"the bundle has {len(entries)} of {count} entries about the model"
    need(len(entries) == count, missing)
    leaves = [entry.leaf for entry in entries]
    need(tree_root(leaves) == root, "the entries are not those of the model's index")
    return True


def _check_signer(note: str, size: int, rights: Rights, what: str) -> None:
    """Signed by the key in force, or the one before if that key took effect at the last entry."""
    in_force = [(at, key) for at, (_, key) in rights.checkpoint if at < size]
    keys = in_force[-2:] if in_force[-1][0] == size - 1 else in_force[-1:]
    signed = any(signed_by(note, key) for _, key in keys)
    need(signed, f"{what} is not signed by the checkpoint key")


def _check_witnesses(
    bundle: Json, until: int, rights: Rights, wanted: tuple[str, ...]
) -> list[str]:
    """As many witnesses as policy asks for have cosigned a checkpoint of this log with all entries
    of the bundle, and so have the `wanted` ones. Returns the names of those who did.
    """
    origin, size, root, _ = checkpoint(bundle["checkpoint"])
    rules = rights.periods[-1].rules
    named = named_witnesses(rules)
    asked = [(vkey.split("+")[0], witness_key(vkey)) for vkey in wanted]
    own = {raw_key(key) for _, (_, key) in rights.checkpoint}
    seen: dict[bytes, str] = {}
    for cosigned in bundle.get("cosigned", []):
        note, proof = cosigned["note"], cosigned["proof"]
        of, old, old_root, _ = checkpoint(note)
        need(of == origin, "a cosigned checkpoint of another log")
        roots = consistent(old, size, old_root, proof)
        need(roots == (old_root, root), "a cosigned checkpoint that this log does not contain")
        if old < until:
            continue
        for name, key in (*named, *asked):
            if raw_key(key) not in own and cosigned_at(note, name, key) is not None:
                seen[raw_key(key)] = name
    model = rules["models"].get(bundle["model"])
    quorum = rules["tiers"][model["tier"]].get("witnesses", 0) if model else 0
    counted = {raw_key(key) for _, key in named} & seen.keys()
    need(len(counted) >= quorum, "too few witnesses have cosigned this log")
    for name, key in asked:
        need(raw_key(key) in seen, f"the witness {name} has not cosigned this log")
    return sorted(seen.values())


def _version(
    bundle: Json, entries: list[Entry], rights: Rights, complete: bool
) -> tuple[Json, list[str]]:
    """Steps 5.5 to 5.7: the registration, and the moves of governed aliases."""
    version = (bundle["model"], bundle["version"])
    terms = ("model", "version")
    of_version = [one for one in entries if tuple(map(one.predicate.get, terms)) == version]
    registered = _registered(of_version, entries, rights, entries[-1].index + 1)
    rows = sorted(registered["files"], key=lambda row: str(row["path"]))
    need(sha(canonical(rows)) == registered["model_digest"], "files of the registration")
    here = {(one.kind, one.digest) for one in entries}
    for link in registered["chain"]:
        need((link["role"], link["sha256"]) in here, f"missing statement: {link['role']}")
    for packet in packets_of(entries, version, registered["model_digest"])[-1:]:
        named = [(step["kind"], step["statement"]) for step in packet.predicate["stages"]]
        named += [("waiver", digest) for digest in packet.predicate["waivers"]]
        need(here.issuperset(named), "a statement of the packet is missing")
    moves = []
    for one in (entry for entry in entries if entry.kind == "promotion"):
        said, is_own = one.predicate, one in of_version
        if said["model"] != version[0] or not said["allowed"]:
            continue
        asked = said.get("asked") is not None or rights.rules_at(one.index) < 2
        is_repeated = is_own or complete
        need(asked or not is_repeated, "a move that does not hold what was asked")
        if said["alias"] == "candidate":
            continue
        if is_repeated:
            before = [entry for entry in entries if entry.index < one.index]
            Move(one, before, rights).check()
        if is_own:
            moves.append(f"entry {one.index}: {said['action']} as {said['alias']}")
    return registered, moves


def _registered(of_version: list[Entry], entries: list[Entry], rights: Rights, end: int) -> Json:
    """The registration of a version that stands before entry `end`. With different digests, none
    does, unless a quorum of policy owners approved one; before version 2 of the rules the last.
    """
    all_ = [one for one in of_version if one.kind == "registration"]
    digests = {one.predicate["model_digest"] for one in all_}
    if rights.rules_at(end) < 2 or len(digests) == 1:
        registered: Json = all_[-1].predicate
        return registered
    owners = rights.at(end).rules["owners"]
    settled = []
    for one in all_:
        votes = [vote for vote in entries if vote.kind == "approval" and vote.about(one.digest)]
        last = {
            vote.predicate["principal"]: vote.predicate for vote in votes if _owned(vote, rights)
        }
        yes = [name for name, vote in last.items() if _approves_for_good(vote)]
        if len(set(map(rights.person, yes))) >= owners["people"]:
            settled.append(one)
    chosen = {one.predicate["model_digest"] for one in settled}
    need(len(chosen) == 1, "the version was registered with different bytes")
    return next(one.predicate for one in reversed(all_) if one.predicate["model_digest"] in chosen)


def _owned(vote: Entry, rights: Rights) -> bool:
    """Whether it is about a registration, in a role that owned the policies at that entry."""
    roles = rights.at(vote.index).rules.get("owners", {}).get("roles", [])
    return vote.predicate["about"] == "registration" and vote.predicate["role"] in roles


def _approves_for_good(vote: Json) -> bool:
    return vote["decision"] == "approve" and vote["expires"] is None


def against(bundle: Json, entries: list[Entry], rights: Rights) -> list[str]:
    """What stands against the version by the entries here: open incidents on its bytes, rejections
    of its packets, and moves that took an alias from it.
    """
    version = (bundle["model"], bundle["version"])
    lines: dict[int, str] = {}
    packets, digests = set[str](), set[str]()
    for entry in entries:
        said = entry.predicate
        if (said.get("model"), said.get("version")) != version:
            continue
        if entry.kind == "registration":
            digests.add(said["model_digest"])
        packets |= {sha256 for role, sha256 in entry.subjects if entry.kind == role == "packet"}
    for digest in digests:
        for index in open_incidents([one for one in entries if one.about(digest)], rights):
            lines[index] = "an incident is open"
    for entry in entries:
        said = entry.predicate
        rejects = entry.kind == "approval" and said["decision"] == "reject"
        if rejects and any(entry.about(packet) for packet in packets):
            lines[entry.index] = f"{said['principal']} rejected it as {said['role']}"
    for index, line in _taken_away(version, entries):
        lines[index] = line
    printable = {index: "".join(filter(str.isprintable, line)) for index, line in lines.items()}
    return [f"entry {index}: {printable[index]}" for index in sorted(printable)]


def _taken_away(version: tuple[str, str], entries: list[Entry]) -> Iterator[tuple[int, str]]:
    """The allowed moves that took a governed alias from a version."""
    held = set[str]()
    for entry in entries:
        move = entry.predicate
        if entry.kind != "promotion" or move["model"] != version[0] or not move["allowed"]:
            continue
        alias, is_own = move["alias"], move["version"] == version[1]
        action = move.get("action", "promote")
        if action == "retire":
            if is_own:
                held.clear()
                yield entry.index, "it was retired"
        elif is_own and alias != "candidate":
            held.add(alias)
        elif alias in held:
            held.discard(alias)
            yield entry.index, f"{action}: {alias} went to version {move['version']}"


class Course:
    """What was done about an incident, and who checked since the last action that it was effective.
    It lasts until the incident is opened again.
    """

    def __init__(self) -> None:
        self.acted: list[str] = []
        self.checked: list[str] = []
        self.stated: set[str] = set()
        self.closed = False

    def add(self, said: Json) -> None:
        if self.closed and said["state"] == "open":
            self.acted, self.checked, self.stated, self.closed = [], [], set(), False
        parts = {"severity": said["severity"], "cause": said["cause"].strip()}
        parts["actions"] = said["actions"]
        self.stated |= {name for name, value in parts.items() if value}
        if said["actions"]:
            self.acted.append(said["principal"])
            self.checked.clear()
        measured = said["effective_at"]
        in_time = measured is not None and instant(measured) <= instant(said["at"])
        if said["effective"].strip() and in_time:
            self.checked.append(said["principal"])

    def closes(self, closing: Entry, rights: Rights, rules: Json) -> bool:
        """Whether a closing counts. From version 3 of the rules on, it needs a check; where policy
        demands it, by another person than those who acted. Policy can demand that severity, cause
        or actions were stated.
        """
        checked = self.checked
        if rules.get("checked_by_another"):
            by = self.acted or [closing.predicate["principal"]]
            actors = frozenset[str]().union(*(rights.person(name) for name in by))
            checked = [name for name in checked if not rights.person(name) & actors]
        closes = rights.rules_at(closing.index) < 3 or bool(checked)
        closes = closes and set(rules.get("closing_needs", [])) <= self.stated
        self.closed = self.closed or closes
        return closes


def open_incidents(entries: list[Entry], rights: Rights, requester: str | None = None) -> list[int]:
    """The entries among these, all about one model's bytes, that opened an incident which is open
    after the last of them. The requester of a move cannot close one that somebody else opened.
    """
    own = rights.person(requester) if requester else frozenset[str]()
    incidents: dict[tuple[str, str], dict[str, int]] = {}
    courses: dict[tuple[str, str], Course] = {}
    registered: set[tuple[str, str, str]] = set()
    for entry in entries:
        said = entry.predicate
        if entry.kind == "registration":
            registered.add((said["model"], said["version"], said["model_digest"]))
        if entry.kind != "incident":
            continue
        digests = {(said["model"], said["version"], sha256) for _, sha256 in entry.subjects}
        known = len(digests) == 1 and digests <= registered
        if rights.rules_at(entry.index) >= 2 and not known:
            continue  # from rules 2 on, an incident is about a registered version
        rules = rights.at(entry.index).rules.get("incidents", {})
        opened = incidents.setdefault((said["model"], said["version"]), {})
        permitted = rules.get("opened_by" if said["state"] == "open" else "closed_by")
        if permitted is not None and said["role"] not in permitted:
            continue
        course = courses.setdefault((said["model"], said["version"]), Course())
        course.add(said)
        if said["state"] == "open":
            opened[said["principal"]] = entry.index
        elif not course.closes(entry, rights, rules):
            continue
        elif not rights.person(said["principal"]) & own or not set(opened) - own:
            opened.clear()
    return [index for opened in incidents.values() for index in opened.values()]


def packets_of(entries: list[Entry], version: tuple[str, str], digest: str) -> list[Entry]:
    """The packets of a version with these bytes that have their own digest as a subject."""
    return [
        entry
        for entry in entries
        if entry.kind == "packet"
        and (entry.predicate["model"], entry.predicate["version"]) == version
        and entry.about(digest)
        and _is_packet(entry)
    ]


def _is_packet(entry: Entry) -> bool:
    body = {name: value for name, value in entry.predicate.items() if name != "run"}
    return ("packet", sha(canonical(body))) in entry.subjects


# -- 7: a move that was rightly allowed ------------------------------------------------------------
class Move:
    """A promotion, rollback or retirement, judged by the entries before it. `check` raises."""

    def __init__(self, entry: Entry, before: list[Entry], rights: Rights) -> None:
        self.entry, self.before, self.rights = entry, before, rights
        self.move = entry.predicate
        self.at = instant(self.move["at"])
        self.policy = rights.at(entry.index)
        self.rules = self.policy.rules
        requests = {one.digest: one for one in before if one.kind == "request"}
        need(self.move["request"] in requests, "the request of a move is missing")
        self.request = requests[self.move["request"]]
        self.tier = self.rules["tiers"][self.rules["models"][self.move["model"]]["tier"]]
        moves = [one for one in before if one.kind == "promotion" and one.predicate["allowed"]]
        self.earlier = [one for one in moves if one.predicate["model"] == self.move["model"]]
        self.moves = [one.predicate for one in self.earlier]
        self.of_model = [one for one in before if one.about(self.move["model_digest"])]
        self.model = f"model {self.move['model']}"
        self.shown: list[Json] | None = None

    def check(self) -> None:
        """Raises `Refused` unless the move was rightly allowed."""
        signed = 0 <= self.policy.signed_at < self.entry.index
        need(signed and self.move["policy"] == self.policy.digest, "policies of the move")
        self._check_request()
        self._check_question()
        if self.move["action"] == "retire":
            self._check_people()
            return
        need(self.tier["promotable"], "a tier whose models get no governed alias")
        need(not self._is_retired(self.move["model_digest"]), "a version that was retired before")
        registered = self._registration(self.move["version"])
        need(registered["model_digest"] == self.move["model_digest"], "digest of the version")
        packet = self._packet(registered)
        behind = self._behind(packet)
        self._check_incidents()
        self._check_bases(behind)
        self._check_imported(packet)
        if self.move["action"] == "promote":
            self._check_promotion(packet, behind)
        else:
            self._check_rollback()

    def _check_promotion(self, packet: Entry, behind: list[Entry]) -> None:
        for one in self.move["waived"]:
            waived = self._is_waived(one, self.before)
            need(waived, f"{one['code']} is waived, and no waiver of it is in force")
        if self.tier.get("canary"):
            need(self._has_canary() or self._waived("CANARY_MISSING", []), "no canary")
        self._check_reviews()
        self._check_lineage(behind)
        self._check_withdrawn(behind)
        self._check_copies(behind)
        self._check_other_names()
        self._check_evidence(behind)
        self._check_makers(behind)
        self._check_evaluator(packet, behind)
        self._check_witnessed()
        self._check_approvals(packet, behind)

    def _check_rollback(self) -> None:
        terms = ("promote", self.move["model_digest"], self.move["alias"])
        held = [(one["action"], one["model_digest"], one["alias"]) for one in self.moves]
        need(terms in held, "a rollback to a version that never held the alias")
        if self.rights.rules_at(self.entry.index) >= 2:
            self._check_target()
        self._check_people()

    # -- What was asked ----------------------------------------------------------------------------
    def _aliases(self) -> list[str]:
        """The aliases that the move gives or takes, in the order of the policies."""
        governed = self.rules["aliases"]
        if self.move["action"] != "retire":
            return [self.move["alias"]]
        held = {one["alias"] for one in self.moves if one["version"] == self.move["version"]}
        return [alias for alias in governed if alias in held] or list(governed)[:1]

    def _check_request(self) -> None:
        request, aliases = self.request.predicate, self.rules["aliases"]
        terms = ("action", "model", "version", "alias", "model_digest", "packet", "from_version")
        need(all(request[name] == self.move[name] for name in terms), "terms of the request")
        rules = [aliases[alias] for alias in self._aliases()]
        need(all(request["role"] in rule["requesters"] for rule in rules), "role of the requester")
        need(self.rights.acts(self.request, self.at, self.policy), "the requester's time had ended")
        hours = timedelta(hours=min(rule.get("request_hours", 24) for rule in rules))
        begins, ends = instant(request["at"]), instant(request["expires"])
        need(begins <= self.at < min(ends, begins + hours), "time of the request")
        consumed = [one["request"] for one in self.moves]
        need(self.move["request"] not in consumed, "the request was used before")

    def _check_question(self) -> None:
        """The move was decided against the version that held the alias, as the log gives it."""
        holder = None
        for one in self.moves:
            if one["action"] == "retire":
                is_held = holder is not None and holder["version"] == one["version"]
                holder = None if is_held else holder
            elif one["alias"] == self.move["alias"]:
                holder = one
        version, digest = (holder["version"], holder["model_digest"]) if holder else (None, None)
        need(self.move["from_version"] == version, "the version that held the alias before")
        asked = self.move["asked"]
        terms = ("action", "model", "version", "alias", "packet", "from_version", "request")
        need(all(asked.get(name) == self.move[name] for name in terms), "terms of the question")
        need(asked["released"]["sha256"] == self.move["model_digest"], "digest of the question")
        need(asked.get("champion") == digest, "the bytes that held the alias before")

    # -- The version -------------------------------------------------------------------------------
    def _registration(self, version: str) -> Json:
        """The registration of a version of the model that stands before the move."""
        terms = (self.move["model"], version)
        registrations = [one for one in self.before if one.kind == "registration"]
        of_version = [
            one
            for one in registrations
            if (one.predicate["model"], one.predicate["version"]) == terms
        ]
        return _registered(of_version, self.before, self.rights, self.entry.index)

    def _packet(self, registered: Json) -> Entry:
        """The last packet of the version, which the move names. A promotion is made under the same
        policies as its packet, which shows the registration and what is waived.
        """
        version, digest = (self.move["model"], self.move["version"]), self.move["model_digest"]
        packet = packets_of(self.before, version, digest)[-1]
        need(("packet", self.move["packet"]) in packet.subjects, "digest of the packet")
        if self.move["action"] != "promote":
            return packet
        need(packet.predicate["policy"] == self.policy.digest, "policies of the packet")
        for term in ("model", "model_digest", "files", "stage"):
            need(registered[term] == packet.predicate[term], f"{term} of the packet")
        self.shown = packet.predicate["waived"]
        for one in self.move["waived"]:
            shown = any(_same_exception(one, other) for other in self.shown)
            need(shown, "a waived finding that the packet does not show")
        return packet

    def _behind(self, packet: Entry) -> list[Entry]:
        """The statements behind the model that a packet names."""
        named = {step["statement"] for step in packet.predicate["stages"]}
        return [entry for entry in self.before if entry.digest in named]

    def _has_canary(self) -> bool:
        """Whether the last rollout to these bytes, from those that held the alias, passed and was
        not aborted. Its windows are not judged here.
        """
        terms = [self.move[name] for name in ("model", "alias", "model_digest")]
        asked = [
            one
            for one in self.before
            if one.kind == "rollout"
            and self.rights.counts(one)
            and [one.predicate[name] for name in ("model", "alias", "to_digest")] == terms
        ]
        stepped = [(one, steps) for one in asked if (steps := self._steps(one))]
        if not stepped:
            return False
        request, steps = stepped[-1][0].predicate, stepped[-1][1]
        actions = [step["action"] for step in steps]
        weights = [step["weight"] for step in steps if step["action"] != "pass"]
        is_whole = weights[-1:] == request["weights"][-1:]
        is_passed = actions[0] == "start" and "pass" in actions and "abort" not in actions
        from_holder = request["from_digest"] == self.move["asked"].get("champion")
        return is_passed and is_whole and from_holder and self._may_be_asked(request)

    def _steps(self, request: Entry) -> list[Json]:
        """The steps of a rollout that count, by their numbers."""
        steps: list[Json] = []
        for one in self.before:
            said = one.predicate
            if one.kind not in ("rollout_step", "rollout_reaction") or one.index < request.index:
                continue
            is_next = (said["rollout"], said["number"]) == (request.digest, len(steps) + 1)
            is_named = self.rights.owner(one.signer, one.index) is not None
            widens = said["action"] in ("start", "widen")
            may = not widens or said.get("role") in request.predicate["widened_by"]
            if is_next and is_named and may and self.rights.counts(one):
                steps.append(said)
        return steps

    def _may_be_asked(self, request: Json) -> bool:
        """Whether the policies of the move permit the terms of a rollout."""
        rollouts = self.rules.get("rollouts") or {"guardrails": {}}
        said = {one["metric"]: one for one in request["guardrails"]}
        for metric, rule in rollouts["guardrails"].items():
            own = said.get(metric, {})
            same = all(own.get(name) == rule[name] for name in ("worse", "low", "high"))
            if not same or own["margin"] > rule["margin"]:
                return False
        few = request["minimum_sample"] < rollouts.get("minimum_sample", 100)
        return bool(request["alpha"] <= rollouts.get("max_alpha", 0.05) and not few)

    def _is_retired(self, digest: str) -> bool:
        taken = [one["model_digest"] for one in self.moves if one["action"] == "retire"]
        return digest in taken

    # -- Waivers and incidents ---------------------------------------------------------------------
    def _waived(self, code: str, figures: list[str], about: str = "") -> bool:
        """Whether a finding about the model's bytes is waived, and the move states it. `figures`:
        those that it has among others. Before version 2 of the rules, the packet of a promotion
        shows it, and no figures are compared.
        """
        named = (code, about or self.model)
        if self.rights.rules_at(self.entry.index) >= 2:
            stated = [one for one in self.move["waived"] if _has(one, *named, figures)]
            return any(self._is_waived(one, self.of_model) for one in stated)
        if self.shown is None:
            return any(self._accepts(entry, *named) for entry in self.of_model)
        shown = [one for one in self.shown if _has(one, *named)]
        return any(self._is_waived(one, self.of_model) for one in shown)

    def _is_waived(self, found: Json, among: list[Entry]) -> bool:
        named = (found["code"], found["subject"])
        return any(self._accepts(entry, *named, found) for entry in among)

    def _accepts(self, entry: Entry, code: str, about: str, found: Json | None = None) -> bool:
        """Whether an entry is a waiver of a finding that is in force at the time of the move. Under
        version 2 of the rules it names what was found.
        """
        waiver, limits = entry.predicate, self.rules.get("waivers", {"max_days": 0})
        if entry.kind != "waiver" or code in limits.get("never", []):
            return False
        terms = (waiver["finding"], waiver["about"], waiver["model"])
        if terms != (code, about, self.move["model"]):
            return False
        if waiver["role"] not in limits.get("accepted_by", []):
            return False
        strict = self.rights.rules_at(entry.index) >= 2
        if found is not None and strict and not _names(waiver, found):
            return False
        days = self.tier.get("waiver_days")
        longest = timedelta(days=limits["max_days"] if days is None else days)
        begins, ends = instant(waiver["at"]), instant(waiver["expires"])
        in_force = ends - begins <= longest and begins <= self.at < ends
        return in_force and self.rights.acts(entry, self.at, self.policy)

    def _check_reviews(self) -> None:
        """Every version of the model that is in use was reviewed in time, or a waiver accepts that
        it was not; none after the days of grace where policy then blocks moves.
        """
        rule = self.tier.get("overdue_review")
        held = {one["alias"]: one for one in self._held() if rule}
        for version in dict.fromkeys(one["version"] for one in held.values()):
            due = self._review_due(self._registration(version))
            if due is None or self.at.date() <= due:
                continue
            grace = timedelta(days=rule["grace_days"])
            lapsed = self.at.date() > due + grace and rule["then"] != "warn"
            need(not lapsed, f"the review of version {version} has lapsed")
            about = f"version {self.move['model']}/{version}"
            stated = [day for one in self.move["waived"] for day in one.get("figures", [])]
            # A breached limit of monitoring, which is not repeated here, makes it due earlier.
            days = [day for day in stated if day <= str(due)]
            waived = any(self._waived("REVIEW_OVERDUE", [day], about) for day in days)
            need(waived, f"the review of version {version} is overdue")

    def _held(self) -> list[Json]:
        """The moves that gave the governed aliases to those who hold them before the move."""
        held: dict[str, Json] = {}
        for one in self.moves:
            if one.get("action", "promote") == "retire":
                held = {
                    alias: given
                    for alias, given in held.items()
                    if given["version"] != one["version"]
                }
            elif one["alias"] != "candidate":
                held[one["alias"]] = one
        return list(held.values())

    def _review_due(self, registered: Json) -> date | None:
        """The last day on which the review of a version is in time."""
        terms = ("model", "version")
        version = [registered[name] for name in terms]
        reviewed = [
            one
            for one in self.before
            if one.about(registered["model_digest"])
            and [one.predicate.get(name) for name in terms] == version
            and (one.kind == "periodic_review" or _gives_alias(one))
            and instant(one.predicate["at"]) <= self.at
        ]
        if not reviewed:
            return None
        by_time = [(instant(one.predicate["at"]), one.index, one.predicate) for one in reviewed]
        last = max(by_time, key=lambda row: row[:2])[2]
        own = self.rules["models"][self.move["model"]].get("review_every")
        months = own or self.tier.get("review_every")
        days = [_months_later(instant(last["at"]).date(), months)] if months else []
        days += [date.fromisoformat(last["next_by"])] if last.get("next_by") else []
        return min(days, default=None)

    def _check_incidents(self) -> None:
        """Every incident is closed, or a waiver since the last was opened accepts it."""
        digest, shown = self.move["model_digest"], self.shown
        stated = any(_has(one, "INCIDENT_OPEN", self.model) for one in self.move["waived"])
        stated = stated or self.rights.rules_at(self.entry.index) < 2
        need(stated or not self._open_incidents(digest), "an incident that the move does not state")
        need(self._incidents_accepted(digest), "an incident was open")
        for index in self._open_incidents(digest) if shown is not None else ():
            named = [
                one
                for one in shown or []
                if (one["code"], one["subject"]) == ("INCIDENT_OPEN", self.model)
                and (one.get("figures") or _numbers(one.get("found", ""))) == [str(index)]
            ]
            need(named, "an incident that the packet does not show")

    def _incidents_accepted(self, digest: str) -> bool:
        opened = self._open_incidents(digest)
        about = [one for one in self.before if one.about(digest)]
        since = [one for one in about if one.index > max(opened, default=-1)]
        finding = {"code": "INCIDENT_OPEN", "subject": self.model}
        return all(self._is_waived({**finding, "figures": [str(one)]}, since) for one in opened)

    def _open_incidents(self, digest: str) -> list[int]:
        """The entries that opened an incident which is open. The requester of the move cannot close
        one that somebody else opened.
        """
        about = [one for one in self.before if one.about(digest)]
        return open_incidents(about, self.rights, self.request.predicate["principal"])

    def _during_incident(self, approval: Entry, packet: Entry) -> bool:
        """Whether somebody approved while an incident was open that the packet does not waive."""
        vote = approval.predicate
        if vote["decision"] != "approve" or vote.get("opened_at") is None:
            return False
        waived = {one["code"] for one in packet.predicate["waived"]}
        waived -= {one["code"] for one in packet.predicate["findings"]}
        before = [entry for entry in self.of_model if entry.index < approval.index]
        opened = open_incidents(before, self.rights)
        return any("INCIDENT_OPEN" not in waived or index > packet.index for index in opened)

    # -- The evidence ------------------------------------------------------------------------------
    def _check_bases(self, behind: list[Entry]) -> None:
        """Policy allows every base model by its digest, and its licence."""
        for code, figure, about in self._of_bases(behind):
            waived = code != "BASE_CHANGED" and self._waived(code, [figure], about)
            need(waived, f"{code}, {about}")

    def _of_bases(self, behind: list[Entry]) -> Iterator[tuple[str, str, str]]:
        """Code, figure and subject of each finding about a base model."""
        bases = self.policy.read("bases.yaml")["bases"] or {}
        licences = {one["digest"]: one["licence"] for one in reversed(bases.values())}
        for entry in (one for one in behind if one.kind == "base"):
            name = entry.predicate["stage"].partition("@")[2]
            (digest, *_) = [sha256 for role, sha256 in entry.subjects if role == "model"]
            if digest not in licences:
                code = "BASE_CHANGED" if name in bases else "BASE_NOT_ALLOWED"
                yield code, digest, f"base {name}"
            elif licences[digest] not in self.rules["licences"]["bases"]:
                yield "LICENCE_NOT_PERMITTED", licences[digest], f"base {name}"

    def _check_imported(self, packet: Entry) -> None:
        """A model that was trained elsewhere: the tier permits it, and policy has a declaration of
        its bytes. Nobody approved anything before its training.
        """
        stated = packet.predicate.get("declaration")
        if self._trainings(self._behind(packet)):
            need(stated is None, "a declaration of a model that was trained here")
            return
        digest = self.move["model_digest"]
        need(self._is_declared(digest), "an import that policy does not permit")
        if self.move["action"] == "promote":
            (name, *_) = self._declarations(digest)
            declared = sha(self.policy.files[name].encode())
            need(stated == declared, "the packet states another declaration")
        wanted = self.tier.get("approved_before_training", [])
        if wanted and self.move["action"] == "promote":
            waived = self._waived(
                "IMPORT_TRAINED_BEFORE", wanted, f"model {packet.predicate['stage']}"
            )
            need(waived, "a model trained elsewhere, before anybody could approve its training")

    def _is_declared(self, digest: str) -> bool:
        return bool(self.tier.get("imported")) and bool(self._declarations(digest))

    def _declarations(self, digest: str) -> dict[str, Json]:
        """The declarations of a model that was trained elsewhere, by file."""
        files = [name for name in self.policy.files if name.startswith("imports/")]
        read = {name: self.policy.read(name) for name in files}
        return {name: declared for name, declared in read.items() if declared["digest"] == digest}

    def _check_lineage(self, behind: list[Entry]) -> None:
        """Every model of the chain was imported, or trained behind a gate that allowed exactly
        that. Each leads back to an import.
        """
        ahead, origins = [self.move["model_digest"]], dict[str, list[set[str]]]()
        while ahead:
            sha256 = ahead.pop()
            made = [one for one in behind if ("model", sha256) in one.subjects]
            made = [one for one in made if one.kind in ("train", "base")]
            need(made, "a model of the chain has neither training nor import")
            origins[sha256] = [set() for one in made if one.kind == "base"]
            for train in (one for one in made if one.kind == "train"):
                used = _used(train)
                lets = [one for one in behind if one.kind == "gate" and _lets(one, train, used)]
                need(lets, "a training without a gate that allowed it")
                parents = {used[role] for role in ("parent", "scorer") if role in used}
                parents |= _makers(used["data"], behind)
                ahead += parents - origins.keys()
                judged = self.rights.rules_at(train.index) >= 2
                origins[sha256].append(parents if judged else set())
        need(_lead_to_imports(origins), "models of the chain that were made from one another only")

    def _check_withdrawn(self, behind: list[Entry]) -> None:
        """No model that a training of the chain built on, or that made its data, was retired or has
        an open incident. From version 3 of the rules on.
        """
        if self.rights.rules_at(self.entry.index) < 3:
            return
        rows = [
            (row["role"], row["sha256"])
            for one in behind
            if one.kind in ("train", "generation")
            for row in one.predicate["inputs"]
        ]
        for role, digest in dict.fromkeys(rows):
            code = {"parent": "PARENT_WITHDRAWN"}.get(role, "SCORER_WITHDRAWN")
            for index in self._withdrawn(digest) if role in BUILT_ON else ():
                stated = [
                    one
                    for one in self.move["waived"]
                    if one["code"] == code and str(index) in one.get("figures", [])
                ]
                waived = any(self._is_waived(one, self.before) for one in stated)
                need(waived, f"entry {index} withdrew the {role} of a step")

    def _check_other_names(self) -> None:
        """The bytes were not retired under another model name. From version 3 of the rules on."""
        if self.rights.rules_at(self.entry.index) < 3:
            return
        for one in self._retirements(self.move["model_digest"]):
            name = one.predicate["model"]
            if name != self.model:
                subject, figures = f"model {name}", [str(one.index)]
                waived = self._waived("OTHER_NAME_WITHDRAWN", figures, subject)
                need(waived, f"entry {one.index} retired these bytes, as {name}")

    def _check_copies(self, behind: list[Entry]) -> None:
        """No two datasets of different names that share a record root were both trained on, or one
        trained on and the other a suite. From version 3 of the rules on.
        """
        if self.rights.rules_at(self.entry.index) < 3:
            return
        roots = defaultdict[str, set[str]](set)
        for entry in (one for one in behind if one.kind in ("ingest", "scan", "quality")):
            counts = entry.predicate["counts"]
            if counts["records_out"]:
                roots[entry.predicate["dataset"]].add(counts["records_root"])
        for role, digest in dict.fromkeys(row for one in behind for row in one.subjects):
            if role == "model":
                self._check_line(digest, behind, roots)

    def _check_line(self, model: str, behind: list[Entry], roots: dict[str, set[str]]) -> None:
        """The same of one model and its parents, from what their gates were asked."""
        gates = self._line(model, behind)
        further = [suite for one in gates for suite in one["parent"].get("further", [])]
        if model == self.move["model_digest"]:
            further += self._registration(self.move["version"])["further"]
        trained = {one["data"]["dataset"] for one in gates}
        suites = {one["suite"]["name"] for one in gates}
        own = [suite for suite in further if not suite.get("harness")]
        suites |= {suite.get("prompts") or suite["name"] for suite in own}
        for data, other in product(sorted(trained), sorted(trained | suites)):
            shared = sorted(roots[data] & roots[other]) if data != other else []
            if shared:
                need(other not in suites, f"{other}, a suite, has records of {data}")
                named = [[name, root] for name in (data, other) for root in shared]
                waived = self._is_copy_waived(named)
                need(waived, f"it was trained on {data} and {other}, which have the same records")

    def _is_copy_waived(self, figures: list[list[str]]) -> bool:
        """Whether the finding about two datasets is waived. It names either of them, and a root."""
        stated = [one for one in self.move["waived"] if one.get("figures") in figures]
        about = [one for one in stated if one["code"] == "RECORDS_TWICE"]
        return any(self._is_waived(one, self.before) for one in about)

    def _line(self, model: str, behind: list[Entry]) -> list[Json]:
        """What the gates of a model and its parents were asked."""
        digest: str | None = model
        gates, seen = list[Json](), set[str]()
        while digest and digest not in seen:
            seen.add(digest)
            trainings = [one for one in behind if ("model", digest) in one.subjects]
            digest = None
            for train in (one for one in trainings if one.kind == "train"):
                used = _used(train)
                lets = [one for one in behind if one.kind == "gate" and _lets(one, train, used)]
                gates += [gate.predicate["parameters"] for gate in lets]
                digest = used.get("parent")
        return gates

    def _withdrawn(self, digest: str) -> list[int]:
        about = [one for one in self.before if one.about(digest)]
        retired = [one.index for one in self._retirements(digest)]
        return retired + open_incidents(about, self.rights)

    def _retirements(self, digest: str) -> list[Entry]:
        named = {key for policy in self.rights.periods for key in policy.keys}
        return [
            one
            for one in self.before
            if one.about(digest) and one.kind == "promotion" and one.signer in named
            if one.predicate["allowed"] and one.predicate["action"] == "retire"
        ]

    def _check_evidence(self, behind: list[Entry]) -> None:
        """No statement behind the model is by a development key, from uncommitted code or altered
        packages. Before version 2 of the rules: only trainings, gates and bases.
        """
        kinds = {"train", "gate", "base"}
        if self.rights.rules_at(self.entry.index) >= 2:
            kinds |= {"ingest", "scan", "quality", "evaluate", "generation", "leak_probe"}
        for entry in (one for one in behind if one.kind in kinds):
            named = any(entry.signer in policy.keys for policy in self.rights.periods)
            need(named, f"a development key signed a {entry.kind} statement")
            self._check_files(entry)

    def _check_files(self, entry: Entry) -> None:
        """The files that ran were committed and as installed, and the statement has their digests.
        Before version 2 of the rules, none had them.
        """
        code, environment = entry.predicate["code"], entry.predicate["environment"]
        need(not code["dirty"], f"uncommitted code in {entry.kind}")
        need(not environment.get("altered"), f"altered package files in {entry.kind}")
        if self.rights.rules_at(entry.index) >= 2:
            has_digests = code.get("sources") and environment.get("files")
            need(has_digests, f"no digest of the files that ran in {entry.kind}")

    def _suite(self, behind: list[Entry]) -> Json:
        """The suite that the gate of the model's training names; of a model that was trained
        elsewhere, the suite of its registration.
        """
        if not self._trainings(behind):
            return self._registration(self.move["version"])["suite"] or {}
        own, gates = self._trainings(behind), [one for one in behind if one.kind == "gate"]
        named = [
            gate.predicate["parameters"]["suite"]
            for gate in gates
            if any(_lets(gate, train, _used(train)) for train in own)
        ]
        return named[-1] if named else {}

    def _trainings(self, behind: list[Entry]) -> list[Entry]:
        """The trainings that made the model itself. One that gave back its parent's bytes made
        nothing; before version 2 of the rules, only if they were an import.
        """
        digest = self.move["model_digest"]
        about = [one for one in behind if ("model", digest) in one.subjects]
        made = [one for one in about if one.kind == "train"]
        imported = any(
            one.kind == "base" and ("model", digest) in one.subjects for one in self.before
        )
        return [
            one
            for one in made
            if self._parent(one) != digest or (not imported and self.rights.rules_at(one.index) < 2)
        ]

    def _parent(self, training: Entry) -> str | None:
        rows = training.predicate["inputs"]
        return next((row["sha256"] for row in rows if row["role"] == "parent"), None)

    def _suites(self, behind: list[Entry]) -> list[Json]:
        """The suites that decide on the model: its own, and those that its registration names."""
        return [self._suite(behind), *self._registration(self.move["version"])["further"]]

    def _evaluations(self, behind: list[Entry], suites: list[Json]) -> list[Entry]:
        """The evaluations of the model on these suites."""
        model = self.move["model_digest"]
        wanted = [(model, suite.get("name"), suite.get("digest")) for suite in suites]
        terms = ("model", "suite_name", "suite")
        evaluations = [one for one in behind if one.kind == "evaluate"]
        return [one for one in evaluations if tuple(map(one.predicate.get, terms)) in wanted]

    def _made(self, behind: list[Entry]) -> list[Entry]:
        """The trainings and imports behind the model, and its own evaluations."""
        made = [one for one in behind if one.kind in ("train", "base")]
        return [*made, *self._evaluations(behind, self._suites(behind))]

    def _check_makers(self, behind: list[Entry]) -> None:
        """The code and the services that made the model are those that policy names, where it names
        any; people authorized the runs.
        """
        commits, builders = self.rules.get("commits"), self.rules.get("builders")
        for entry in self._made(behind):
            stage = entry.predicate["stage"]
            commit = entry.predicate["code"].get("commit") or "none"
            permitted = commits is None or commit in commits
            permitted = permitted or self._waived("COMMIT_NOT_PERMITTED", [commit[:12]])
            need(permitted, f"the commit of {stage} is not permitted")
            owner = self.rights.owner(entry.signer, entry.index)
            builder = owner["name"] if owner else f"key {entry.signer[:16]}"
            is_builder = builders is None or builder in builders
            is_builder = is_builder or self._waived("BUILDER_NOT_PERMITTED", [builder])
            need(is_builder, f"the builder of {stage} is not permitted")
            authorized = self._is_authorized(entry) or self._waived("REQUESTER_UNKNOWN", [stage])
            need(authorized, f"nobody authorized {stage}")

    def _is_authorized(self, entry: Entry) -> bool:
        """Whether an authorization by the person, earlier in the log, covers a run."""
        run = entry.predicate["run"]
        asked, started = run["requested_by"], run["started"]
        as_text = self.rights.rules_at(entry.index) < 2  # a whole second follows its fractions
        read: Callable[[str], Any] = str if as_text else instant
        return bool(asked["authenticated"]) and any(
            one.kind == "authorization"
            and one.digest == asked.get("authorization")
            and one.index < entry.index
            and one.predicate["principal"] == asked["name"]
            and read(started) < read(one.predicate["expires"])
            for one in self.before
        )

    def _check_evaluator(self, packet: Entry, behind: list[Entry]) -> None:
        """Others evaluated the model than trained it, where the tier demands that and policy has
        thresholds for it.
        """
        if not self.tier.get("separate_evaluator"):
            return
        own, *further = self._suites(behind)
        about = f"model {packet.predicate['stage']}"
        self._check_evaluator_on(own, about, behind)
        for suite in further:
            self._check_evaluator_on(suite, f"{about} on {suite['name']}", behind)

    def _check_evaluator_on(self, suite: Json, about: str, behind: list[Entry]) -> None:
        suites = self.policy.read("evaluation.yaml")["suites"]
        policy = suites.get(suite.get("name"), {"methods": {}})
        for train in self._trainings(behind):
            demands = policy["methods"].get(train.predicate["method"])
            stage = train.predicate["stage"].partition("@")[2]
            own = (policy.get("stages") or {}).get(stage) or {}
            if self.move["model"] in (own.get("released_as") or []):
                demands = own
            if demands is None or demands.get("none") is not None:
                continue
            evaluations = self._evaluations(behind, [suite])
            same = [one for one in evaluations if self._same_signer(one, train)]
            waived = self._waived("SEPARATE_EVALUATOR", [train.signer], about)
            need(not same or waived, "one signer trained and evaluated the model")

    def _same_signer(self, one: Entry, other: Entry) -> bool:
        owners = [self.rights.owner(each.signer, each.index) for each in (one, other)]
        people = [self.rights.person(owner["name"]) for owner in owners if owner]
        return one.signer == other.signer or (len(people) == 2 and people[0] == people[1])

    def _check_witnessed(self) -> None:
        """As many witnesses as the tier asks for had cosigned the log of late."""
        grace = timedelta(hours=self.rules.get("witness_grace_hours", 24))
        latest = self.at + timedelta(minutes=5)
        own = {
            raw_key(key) for start, (_, key) in self.rights.checkpoint if start < self.entry.index
        }
        seen = set[bytes]()
        for entry in (one for one in self.before if one.kind == "cosigned"):
            for name, key in named_witnesses(self.rules):
                times = [
                    time
                    for size, time in self._cosignatures(entry, name, key)
                    if size <= entry.index and self.at - grace <= time <= latest
                ]
                seen |= {raw_key(key)} - own if times else set()
        need(len(seen) >= self.tier.get("witnesses", 0), "too few witnesses had cosigned the log")

    def _cosignatures(
        self, entry: Entry, name: str, key: Ed25519PublicKey
    ) -> Iterator[tuple[int, datetime]]:
        """Size and time of each checkpoint of this log that a witness cosigned."""
        for note in entry.predicate["notes"]:
            with suppress(*UNREADABLE):
                origin, size, _, _ = checkpoint(note)
                seconds = cosigned_at(note, name, key)
                if seconds is not None and origin == self.rights.log_name:
                    yield size, datetime.fromtimestamp(seconds, UTC)

    # -- People ------------------------------------------------------------------------------------
    def _votes(self, about: str) -> list[Entry]:
        """The approvals and rejections of a kind of thing, in order."""
        approvals = [one for one in self.before if one.kind == "approval"]
        return [one for one in approvals if one.predicate["about"] == about]

    def _check_people(self) -> None:
        """Enough people asked for a rollback or retirement, or one in an emergency."""
        request, rule = self.request.predicate, self.rules["aliases"][self._aliases()[0]]
        people = self._signers(request["principal"], self.request.digest, self.at)
        if self.move["action"] == "retire":
            need(len(people) >= max(2, self.tier["approvals"]), "too few people asked for it")
            return
        wanted = rule.get("rollback_people", 1)
        emergency = request["break_glass"] and request["role"] in rule.get("break_glass", [])
        need(emergency or len(people) >= wanted, "too few people asked for it")
        if emergency and len(people) < wanted:
            about = f"rollback of {self.move['model']}"
            for index in self._overdue():
                waived = self._waived("SECOND_SIGNATURE_OVERDUE", [index], about)
                need(waived, "a second signature was overdue")

    def _signers(self, author: str, digest: str, at: datetime | None = None) -> set[frozenset[str]]:
        """The people who signed a request; with `at`: whose signatures are in force then."""
        agrees = {author: True}
        for entry in self._votes("promotion"):
            vote = entry.predicate
            roles = self.rights.at(entry.index).rules.get("seconded_by")
            if entry.about(digest) and vote["principal"] != author:
                if roles and vote["role"] not in roles:
                    continue
                holds = at is None or (
                    _in_force(vote, at) and self.rights.acts(entry, at, self.policy)
                )
                agrees[vote["principal"]] = vote["decision"] == "approve" and holds
        return {self.rights.person(name) for name, yes in agrees.items() if yes}

    def _overdue(self) -> Iterator[str]:
        """The earlier moves by one person alone that lack their second signature for too long."""
        requests = {one.digest: one.predicate for one in self.before if one.kind == "request"}
        for entry in self.earlier:
            one = entry.predicate
            due, request = one.get("second_signature_by"), requests.get(one["request"])
            if due is None or self.at < instant(due):
                continue
            if request is None or len(self._signers(request["principal"], one["request"])) < 2:
                yield str(entry.index)

    def _check_approvals(self, packet: Entry, behind: list[Entry]) -> None:
        """As many people in different roles approved as the tier asks; no author counts."""
        votes: dict[tuple[frozenset[str], str], str] = {}
        for entry in self._votes("packet"):
            vote = entry.predicate
            if entry.index < packet.index or entry.subjects[0][1] != self.move["packet"]:
                continue
            if self._fits(entry) and not self._during_incident(entry, packet):
                votes[self.rights.person(vote["principal"]), vote["role"]] = vote["decision"]
        need("reject" not in votes.values(), "somebody rejected the packet")
        authors = set(map(self.rights.person, self._authors(behind)))
        free = [(person, role) for person, role in votes if person not in authors]
        wanted = self.tier["approvals"]
        enough = any(
            len({person for person, _ in some}) == len({role for _, role in some}) == wanted
            for some in combinations(free, wanted)
        )
        need(enough, "too few approvals")

    def _fits(self, entry: Entry) -> bool:
        vote = entry.predicate
        named = vote["role"] in self.tier["approvers"] and vote["model"] == self.move["model"]
        acts = vote["decision"] == "reject" or self.rights.acts(entry, self.at, self.policy)
        alias = vote["alias"] in (None, self.move["alias"])
        return named and acts and alias and vote["page"] is not None and _in_force(vote, self.at)

    def _authors(self, behind: list[Entry]) -> set[str]:
        """Who asked for, signed or requested what is approved."""
        authors = {self.request.predicate["principal"]}
        if not self._trainings(behind):
            declared = self._declarations(self.move["model_digest"]).values()
            authors |= {one["declared_by"] for one in declared}
        for entry in self._made(behind):
            owner = self.rights.owner(entry.signer, entry.index)
            authors |= {owner["name"]} if owner else set()
            authors.add(entry.predicate["run"]["requested_by"]["name"])
        return authors

    # -- The target of a rollback ------------------------------------------------------------------
    def _check_target(self) -> None:
        """It is the last earlier version against which nothing is open."""
        for given in self._earlier():
            if given["version"] == self.move["version"]:
                return
            passed = f"a rollback past version {given['version']}, against which nothing is open"
            need(self._may_be_passed(given), passed)
        raise Refused("a rollback to a later version")

    def _earlier(self) -> list[Json]:
        """The moves that gave the alias to versions before the holder's, nearest first."""
        stack: list[Json] = []
        for one in self.moves:
            if one["action"] == "retire":
                stack = [given for given in stack if given["version"] != one["version"]]
            elif one["alias"] == self.move["alias"] and one["action"] == "promote":
                stack.append(one)
            elif one["alias"] == self.move["alias"]:
                while stack and stack[-1]["version"] != one["version"]:
                    stack.pop()
        nearest = {one["version"]: one for one in stack}  # the last of each version
        earlier = [one for one in reversed(stack) if nearest[one["version"]] is one]
        return [one for one in earlier if one["version"] != self.move["from_version"]]

    def _may_be_passed(self, given: Json) -> bool:
        """Whether something is open against a version, or could be: evidence about its bytes that
        is later than its packet needs the whole decision.
        """
        version, digest = (given["model"], given["version"]), given["model_digest"]
        packets = packets_of(self.before, version, digest)
        later = [one for one in self.before if one.about(digest) and one.kind in STAGES[:-2]]
        if not packets or any(one.index > packets[-1].index for one in later):
            return True
        try:
            need(self._registration(given["version"])["model_digest"] == digest, "its digest")
            need(not self._is_retired(digest), "retired")
            need(self._incidents_accepted(digest), "an incident")
            behind = self._behind(packets[-1])
            need(not list(self._of_bases(behind)), "a base")
            made = [
                one for one in behind if one.kind == "train" and ("model", digest) in one.subjects
            ]
            need(made or self._is_declared(digest), "an import")
        except Refused:
            return True
        return False


def _lead_to_imports(origins: dict[str, list[set[str]]]) -> bool:
    """Whether every model was made, in one of its ways, from models that lead to an import. An
    import is made from none.
    """
    known = set[str]()
    while more := [model for model in origins.keys() - known if _some(origins[model], known)]:
        known.update(more)
    return known == origins.keys()


def _some(ways: list[set[str]], known: set[str]) -> bool:
    return any(parents <= known for parents in ways)


def _used(training: Entry) -> dict[str, str]:
    """Role to the digest of everything that went into a training."""
    return {**_inputs(training), "objective": training.predicate["objective"]}


def _inputs(stage: Entry) -> dict[str, str]:
    return {row["role"]: row["sha256"] for row in stage.predicate["inputs"]}


def _makers(records: str, behind: list[Entry]) -> set[str]:
    """The models that generated or judged these records, or the prompts of them, and so on."""
    found, done, ahead = set[str](), set[str](), [records]
    while ahead:
        digest = ahead.pop()
        if digest in done:
            continue
        done.add(digest)
        for used in map(_inputs, _generations(digest, behind)):
            found |= {used[role] for role in ("generator", "judge") if role in used}
            ahead += [used["prompts"]] if "prompts" in used else []
    return found


def _generations(records: str, behind: list[Entry]) -> list[Entry]:
    """The generations from whose files these records came."""
    digests = {records}
    for kind in ("quality", "scan", "ingest"):
        steps = [
            one
            for one in behind
            if one.kind == kind and any(("records", digest) in one.subjects for digest in digests)
        ]
        digests = {
            _inputs(one).get("source" if kind == "ingest" else "records", "") for one in steps
        }
    return [
        one
        for one in behind
        if one.kind == "generation"
        and any(("source", digest) in one.subjects for digest in digests)
    ]


def _lets(gate: Entry, train: Entry, used: dict[str, str]) -> bool:
    """Whether a gate allowed a training, before it, on the digests that it used."""
    said, stage = gate.predicate, train.predicate["stage"].partition("@")[2]
    decided = {
        role: digest
        for role, digest in said["decided_on"].items()
        if not role.startswith("reward/")
    }
    is_of = said["allowed"] and said["stage"] == f"gate@{stage}" and gate.index < train.index
    same = all(used.get(role) == digest for role, digest in decided.items())
    complete = {"data", "parent", "objective"} <= decided.keys()
    return bool(is_of and same and complete and gate.about(used.get("gate", "")))


def _has(finding: Json, code: str, about: str, figures: Collection[str] = ()) -> bool:
    """Whether a finding is of this code and subject, with these among its figures."""
    named = (finding["code"], finding["subject"]) == (code, about)
    return named and set(figures) <= set(finding.get("figures", []))


def _same_exception(one: Json, other: Json) -> bool:
    """Whether who accepts the one accepts the other: the same code, subject and figures. Older
    findings have the figures in their text.
    """
    for name in ("code", "subject"):
        if one[name] != other[name]:
            return False
    for name in ("figures", "measure"):
        if one.get(name) and other.get(name) and one[name] != other[name]:
            return False
    both_have = one.get("figures") and other.get("figures")
    return bool(both_have) or _numbers(one.get("found", "")) == _numbers(other.get("found", ""))


def _names(waiver: Json, found: Json) -> bool:
    """Whether a waiver names what was found."""
    figures = (found.get("measure", ""), found.get("figures", []))
    rows = [(row.get("measure", ""), row["figures"]) for row in waiver["accepts"]]
    return figures in [("", []), *rows]


def _gives_alias(entry: Entry) -> bool:
    """Whether an entry is an allowed promotion to a governed alias."""
    said = entry.predicate
    is_move = entry.kind == "promotion" and said["allowed"]
    return is_move and said["alias"] != "candidate" and said.get("action", "promote") == "promote"


def _months_later(first: date, count: int) -> date:
    """The day that many months after a day; the last day of a shorter month."""
    years, month = divmod(first.month - 1 + count, 12)
    last = monthrange(first.year + years, month + 1)[1]
    return date(first.year + years, month + 1, min(first.day, last))


def _numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.-])", text)


def _length(value: object) -> int:
    """Characters of a text, or of all texts in a list."""
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else 0


def _in_force(vote: Json, at: datetime) -> bool:
    begun = vote["decision"] == "reject" or instant(vote["at"]) <= at
    return begun and (vote["expires"] is None or at < instant(vote["expires"]))


# -- the command -----------------------------------------------------------------------------------
def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    lead, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=lead, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="the bundle's file")
    parser.add_argument("--origin", help="SHA-256 of entry 0, or id of the checkpoint key")
    parser.add_argument(
        "--witness", action="append", default=[], help="vkey of a witness that must have cosigned"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        with options.bundle.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        parser.error(f"{options.bundle}: {error.strerror}")
    try:
        summary = verify(data, options.origin, tuple(options.witness))
    except Refused as error:
        reason = "".join(char if char.isprintable() else "?" for char in str(error))
        answer = {"verified": False, "reason": reason}
        print(json.dumps(answer) if options.json else f"DOES NOT VERIFY: {reason}")
        return DOES_NOT_VERIFY
    complete = summary["completeness"] == "shown"
    if options.json:
        print(json.dumps({"verified": True, **summary}, indent=2))
        return 0 if complete else DOES_NOT_VERIFY
    title = "VERIFIES" if complete else "VERIFIES, COMPLETENESS NOT SHOWN"
    print(title + ": {model}/{version}, sha256 {digest}".format_map(summary))
    print("log       {entries} of {size} entries, root {root}".format_map(summary))
    print("complete  completeness: {completeness}".format_map(summary))
    print("origin    {first}".format_map(summary))
    for name in summary["witnesses"]:
        print(f"witness   {name}")
    for name in ("moves", "against"):
        for line in summary[name] or ["none" if complete else "none in this bundle"]:
            print(f"{name:<10}{line}")
    for what in summary["relies_on"]:
        print(f"{'relies on':<10}the service that signed the moves, for {what}")
    return 0 if complete else DOES_NOT_VERIFY


if __name__ == "__main__":
    sys.exit(main())
