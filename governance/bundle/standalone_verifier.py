"""Check a Countersign bundle without Countersign: one file, two dependencies.

It needs Python 3.11 or newer, `cryptography` (43 or newer) and `ruamel.yaml`. It was written from
`docs/formats.md` alone, imports nothing of Countersign, and is tested against it on every bundle
of the test suite. Numbers in comments are sections and steps of that page.

    pip install cryptography ruamel.yaml
    python verifier.py FILE.bundle --origin SHA256

`--origin` is the SHA-256 of entry 0 of the log, or the id of its checkpoint key. Get it another
way than from the person who gave you the bundle. Exit code 0: the bundle verifies. Exit code 5: it
does not, or nothing establishes its origin.

What is checked: the bundle's form and seal; that every entry is in the signed Merkle tree; every
signature; that every statement the version rests on is present; and for each move of a governed
alias, the request, the policies, the people who approved and open incidents. What is not checked:
thresholds, licences and the other findings of a gate (Countersign repeats the whole decision); the
model's own files; entries that the bundle does not contain.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

MEMBERS = {"format", "model", "version", "checkpoint", "entries", "files", "growth", "seal"}
STAGES = (
    *("ingest", "scan", "quality", "base", "gate", "train", "evaluate"),
    *("registration", "promotion"),
)
MAX_BYTES = 64 << 20
MAX_INTEGER = 2**53 - 1
POLICY_CHARACTERS = 512 << 10
DOES_NOT_VERIFY = 5
"""Exit code, the same as that of `countersign verify`."""

Json = dict[str, Any]


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


def unbase(text: str) -> bytes:
    """Base64 in its one canonical form."""
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64 that is not canonical")
    return data


def load(text: str) -> tuple[str, Ed25519PublicKey]:
    """A public key, PEM or OpenSSH, with its id."""
    data = text.strip().encode()
    key = load_pem_public_key(data) if data.startswith(b"-----") else load_ssh_public_key(data)
    if not isinstance(key, Ed25519PublicKey):
        raise Refused("a key that is not Ed25519")
    return sha(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)), key


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
        self.kind, self.predicate = kind[1], statement["predicate"]
        self.subjects = [
            (one["annotations"]["role"], one["digest"]["sha256"]) for one in statement["subject"]
        ]
        self.digest = sha(self.payload)
        self.leaf = hashlib.sha256(b"\0" + canonical(self.envelope)).digest()
        self.keyid: str = self.envelope["signatures"][0]["keyid"]
        self.signer, self.counts = "", False

    def check(self, keys: dict[str, Ed25519PublicKey]) -> None:
        """Verifies the signature."""
        kind = self.envelope["payloadType"]
        need(kind == "application/vnd.in-toto+json", "payload type")
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(self.payload), self.payload)
        need(self.keyid in keys, f"entry {self.index}: signed by an unknown key")
        keys[self.keyid].verify(unbase(self.envelope["signatures"][0]["sig"]), signed)
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


def signed_by(note: str, key: Ed25519PublicKey) -> bool:
    """Whether the log's own signature of a checkpoint is by this key."""
    origin, _, _, lines = checkpoint(note)
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    tag = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()[:4]
    prefix = f"\u2014 {origin} "
    blobs = [unbase(line[len(prefix) :]) for line in lines if line.startswith(prefix)]
    own = [blob[4:] for blob in blobs if blob[:4] == tag]
    with suppress(InvalidSignature):
        for signature in own:
            key.verify(signature, note.partition("\n\n")[0].encode() + b"\n")
        return len(own) == 1
    return False


# -- 6: rights -------------------------------------------------------------------------------------
@cache
def policy_rules(text: str) -> Any:
    """The value of `policy.yaml`: YAML 1.2 without directives, tags, aliases, or keys given
    twice.
    """
    need(len(text) <= POLICY_CHARACTERS, "a policy too large")
    reader = YAML(typ="safe", pure=True)
    for event in reader.parse(text) if set("*!%") & set(text) else ():
        need(not isinstance(event, AliasEvent), "an alias in YAML")
        need(getattr(event, "tag", None) is None, "a tag in YAML")
        need(getattr(event, "version", None) is None, "a directive in YAML")
    return YAML(typ="safe", pure=True).load(text)


class Policy:
    """Recorded policies. In force from `start`, signed by their owners at `signed_at`."""

    def __init__(self, start: int, digest: str, files: dict[str, str]) -> None:
        self.start, self.digest, self.signed_at = start, digest, -1
        self.rules = policy_rules(files["policy.yaml"])
        self.keys: dict[str, Ed25519PublicKey] = {}
        self.owner: dict[str, Json] = {}
        for principal in self.rules["principals"]:
            for text in principal["keys"]:
                keyid, key = load(text)
                self.keys[keyid], self.owner[keyid] = key, principal

        # Who may change policies: the owners, or those who recover.
        self.quorums = [self.rules[name] for name in ("owners", "recovery") if name in self.rules]


def last_day(owner: Json) -> str:
    """The last day on which a principal's signature counts."""
    return str(owner.get("until") or "9999-12-31")


class Rights:
    """Who may say what, at each entry."""

    def __init__(self, entries: list[Entry]) -> None:
        origin, self.log = entries[0].predicate, entries[0].leaf.hex()
        self.development = dict(load(pem) for pem in origin["development_keys"])
        self.recorded: dict[str, Policy] = {}
        self.periods: list[Policy] = []
        self.revoked: dict[str, int] = {}
        self.checkpoint = [(0, load(origin["checkpoint_key"]))]
        self.successors: dict[str, tuple[str, Ed25519PublicKey]] = {}
        self.signed: dict[str, list[tuple[str, str, str]]] = {}
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

    @property
    def known(self) -> dict[str, Ed25519PublicKey]:
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

    def speaks(self, entry: Entry) -> bool:
        """Whether a statement by a person was signed by that person, in a role they have."""
        owner, predicate = self.owner(entry.signer, entry.index), entry.predicate
        if owner is None or owner["kind"] != "person" or owner["name"] != predicate["principal"]:
            return False
        if predicate["role"] not in owner["roles"] or predicate.get("log", self.log) != self.log:
            return False
        return bool(predicate["at"][:10] <= last_day(owner))

    def counts(self, entry: Entry) -> bool:
        """Whether the signer had the right to make this statement."""
        if "principal" in entry.predicate:
            return self.speaks(entry)
        if entry.kind not in STAGES:
            return True
        owner = self.owner(entry.signer, entry.index)
        named = any(entry.signer in policy.keys for policy in self.periods)
        if named or entry.signer not in self.development:
            return owner is not None and entry.kind in owner.get("signs", [])
        free = self.at(entry.index).rules["development_keys"] == "candidate"
        return free and (entry.kind != "promotion" or entry.predicate["alias"] == "candidate")

    def _policy(self, entry: Entry) -> None:
        files, digest = entry.predicate["files"] or {}, entry.subjects[0][1]
        if files and listing({path: text.encode() for path, text in files.items()}) == digest:
            with suppress(*UNREADABLE):  # unreadable policies change nothing
                self.recorded[digest] = Policy(entry.index, digest, files)

    def _right(self, entry: Entry) -> Json | None:
        """The principal who signed, by the policies in force."""
        of_this_log = entry.predicate.get("log", self.log) == self.log
        if entry.keyid not in self.periods[-1].keys or not of_this_log:
            return None
        entry.check(self.periods[-1].keys)
        return self.owner(entry.signer, entry.index)

    def _revocation(self, entry: Entry) -> None:
        signer, keyid, now = self._right(entry), entry.subjects[0][1], self.periods[-1]
        if signer is None:
            return
        own = keyid in now.owner and now.owner[keyid]["name"] == signer["name"]
        if own or set(now.rules.get("owners", {}).get("roles", [])) & set(signer.get("roles", [])):
            self.revoked.setdefault(keyid, entry.index)

    def _checkpoint_key(self, entry: Entry) -> None:
        if entry.keyid in self.periods[-1].keys:
            with suppress(*UNREADABLE):
                keyid, key = load(entry.predicate["pem"])
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
            self.signed[digest] = [one for one in signed if one[0] != vote["principal"]]
            return
        if not any(vote["role"] in quorum["roles"] for quorum in now.quorums):
            return
        signed.append((vote["principal"], vote["role"], last_day(owner)))
        self.last_signed[digest] = max(vote["at"], self.last_signed.get(digest, ""))
        if self._quorum(digest):
            self._enact(vote["about"], digest, entry.index)

    def _quorum(self, digest: str) -> bool:
        """Whether enough people signed."""
        day = self.last_signed[digest][:10]
        votes = [(name, role) for name, role, until in self.signed[digest] if day <= until]
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
        elif digest in self.recorded:
            policy = self.recorded[digest]
            policy.start = policy.signed_at = index
            self.periods.append(policy)
            self.signed = {}


# -- 4 and 5: the bundle ---------------------------------------------------------------------------
def verify(data: bytes, origin: str | None) -> Json:
    """Verifies a bundle whose log begins as pinned: leaf hash of entry 0, or id of the checkpoint
    key. Returns what was verified; `moves` are the moves of governed aliases that were rightly
    allowed. Raises `Refused`.
    """
    try:
        return _verify(data, origin)
    except Refused:
        raise
    except UNREADABLE as error:
        raise Refused(f"cannot be read: {type(error).__name__}: {error}") from error


def _verify(data: bytes, pin: str | None) -> Json:
    bundle, entries = _read(data)
    name, size, root, _ = checkpoint(bundle["checkpoint"])
    for entry in entries:  # 5.2
        need(root_of(entry, size) == root, f"entry {entry.index} is not in the checkpoint's tree")
    first = entries[0]
    need(first.index == 0 and first.kind == "origin", "entry 0 is not an origin")  # 5.3
    expected = f"countersign/{first.predicate['project']}/{first.leaf.hex()[:16]}"
    need(name == expected, "the checkpoint is of another log")
    rights = Rights(entries)
    _check_checkpoint(bundle["checkpoint"], size, rights)
    pins = (first.leaf.hex(), rights.checkpoint[0][1][0])
    need(pin in pins, "origin not established: give the pin with --origin")  # 5.8, before the work
    for entry in entries:  # 5.4
        entry.check(rights.known)
        entry.counts = rights.counts(entry)
    registered, moves = _version(bundle, [entry for entry in entries if entry.counts], rights)
    return {
        "model": bundle["model"],
        "version": bundle["version"],
        "digest": registered["model_digest"],
        "entries": len(entries),
        "size": size,
        "root": root.hex(),
        "first": first.leaf.hex(),
        "moves": moves,
    }


def _read(data: bytes) -> tuple[Json, list[Entry]]:
    """The bundle, its form and seal checked (5.1)."""
    need(len(data) <= MAX_BYTES, "the file is too large")
    bundle = parse(data)
    need(canonical(bundle) == data and set(bundle) == MEMBERS, "form of the bundle")
    need(bundle["format"] == "https://countersign.dev/bundle/v1", "format of the bundle")
    body = {name: value for name, value in bundle.items() if name != "seal"}
    need(sha(canonical(body)) == bundle["seal"], "the seal does not match the content")
    for name, pattern in (("model", r"[a-z][a-z0-9_-]{0,62}"), ("version", r"[1-9][0-9]{0,9}")):
        need(re.fullmatch(pattern, bundle[name]), f"form of the {name}")
    growth = bundle["growth"]
    if growth is not None:
        need(set(growth) == {"size", "proof"} and hashes(growth["proof"]) <= 128, "growth")
        need(type(growth["size"]) is int and growth["size"] >= 0, "size of the growth")
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


def _check_checkpoint(note: str, size: int, rights: Rights) -> None:
    """Signed by the key in force, or the one before if that key took effect at the last entry."""
    in_force = [(at, key) for at, (_, key) in rights.checkpoint if at < size]
    keys = in_force[-2:] if in_force[-1][0] == size - 1 else in_force[-1:]
    signed = any(signed_by(note, key) for _, key in keys)
    need(signed, "the checkpoint is not signed by the checkpoint key")


def _version(bundle: Json, entries: list[Entry], rights: Rights) -> tuple[Json, list[str]]:
    """Steps 5.5 to 5.7: the registration, and the moves of governed aliases."""
    version = (bundle["model"], bundle["version"])
    terms = ("model", "version")
    of_version = [one for one in entries if tuple(map(one.predicate.get, terms)) == version]
    registered: Json = [one for one in of_version if one.kind == "registration"][-1].predicate
    rows = sorted(registered["files"], key=lambda row: str(row["path"]))
    need(sha(canonical(rows)) == registered["model_digest"], "files of the registration")
    here = {(one.kind, one.digest) for one in entries}
    for link in registered["chain"]:
        need((link["role"], link["sha256"]) in here, f"missing statement: {link['role']}")
    packets = [one for one in of_version if one.kind == "packet" and _is_packet(one)]
    packets = [one for one in packets if one.about(registered["model_digest"])]
    for packet in packets[-1:]:
        named = [(step["kind"], step["statement"]) for step in packet.predicate["stages"]]
        named += [("waiver", digest) for digest in packet.predicate["waivers"]]
        need(here.issuperset(named), "a statement of the packet is missing")
    moves = []
    for one in of_version:
        said = one.predicate
        if one.kind == "promotion" and said["allowed"] and said["alias"] != "candidate":
            before = [entry for entry in entries if entry.index < one.index]
            Move(one, before, packets, rights).check()
            moves.append(f"entry {one.index}: {said['action']} as {said['alias']}")
    return registered, moves


def _is_packet(entry: Entry) -> bool:
    """Whether a packet has its digest as a subject."""
    body = {name: value for name, value in entry.predicate.items() if name != "run"}
    return ("packet", sha(canonical(body))) in entry.subjects


# -- 7: a move that was rightly allowed ------------------------------------------------------------
class Move:
    """A promotion, rollback or retirement, judged by the entries before it. `check` raises."""

    def __init__(
        self, entry: Entry, before: list[Entry], packets: list[Entry], rights: Rights
    ) -> None:
        self.entry, self.before, self.packets, self.rights = entry, before, packets, rights
        self.move = entry.predicate
        self.policy = rights.at(entry.index)
        self.rules = self.policy.rules
        requests = {one.digest: one for one in before if one.kind == "request"}
        need(self.move["request"] in requests, "the request of a move is missing")
        self.request = requests[self.move["request"]]
        self.tier = self.rules["tiers"][self.rules["models"][self.move["model"]]["tier"]]
        moves = [one.predicate for one in before if one.kind == "promotion"]
        moves = [one for one in moves if one["model"] == self.move["model"]]
        self.moves = [one for one in moves if one["allowed"]]
        self.of_model = [one for one in before if one.about(self.move["model_digest"])]

    def check(self) -> None:
        """Raises `Refused` unless the move was rightly allowed."""
        signed = 0 <= self.policy.signed_at < self.entry.index
        need(signed and self.move["policy"] == self.policy.digest, "policies of the move")
        self._check_request()
        self._check_holder()
        self._check_incidents()
        if self.move["action"] == "promote":
            packet = self._packet()
            self._check_approvals(packet)
            return
        if self.move["action"] == "rollback":
            terms = ("promote", self.move["model_digest"], self.move["alias"])
            held = [(one["action"], one["model_digest"], one["alias"]) for one in self.moves]
            need(terms in held, "a rollback to a version that never held the alias")
        self._check_people()

    def votes(self, about: str) -> list[Entry]:
        """The approvals and rejections of a kind of thing, in order."""
        approvals = [one for one in self.before if one.kind == "approval"]
        return [one for one in approvals if one.predicate["about"] == about]

    def _aliases(self) -> set[str]:
        """The aliases that the move gives or takes."""
        if self.move["action"] != "retire":
            return {self.move["alias"]}
        held = {one["alias"] for one in self.moves if one["version"] == self.move["version"]}
        governed = self.rules["aliases"]
        return held & set(governed) or {next(iter(governed))}

    def _check_request(self) -> None:
        request, aliases = self.request.predicate, self.rules["aliases"]
        terms = ("action", "model", "version", "alias", "model_digest", "packet", "from_version")
        need(all(request[name] == self.move[name] for name in terms), "terms of the request")
        for alias in self._aliases():
            need(request["role"] in aliases[alias]["requesters"], "role of the requester")
        need(request["at"] <= self.move["at"] < request["expires"], "time of the request")
        consumed = [one["request"] for one in self.moves]
        need(self.move["request"] not in consumed, "the request was used before")

    def _check_holder(self) -> None:
        holder = None
        for one in self.moves:
            if one["action"] == "retire":
                holder = None if holder == one["version"] else holder
            elif one["alias"] == self.move["alias"]:
                holder = one["version"]
        need(self.move["from_version"] == holder, "the version that held the alias before")

    def _check_incidents(self) -> None:
        """Every incident is closed, or somebody accepted it in a waiver since."""
        waivers = [one for one in self.of_model if one.kind == "waiver"]
        accepted = [one.index for one in waivers if self._accepts_incident(one.predicate)]
        requester = self.request.predicate["principal"]
        for index in self._open_incidents(self.entry.index, requester):
            need(index < max(accepted, default=-1), "an incident was open")

    def _open_incidents(self, end: int, requester: str | None) -> list[int]:
        """The entries that opened an incident which is open at `end`. The requester of the move
        cannot close one that somebody else opened.
        """
        incidents: dict[tuple[str, str], dict[str, int]] = {}
        for entry in self.of_model:
            if entry.kind != "incident" or entry.index >= end:
                continue
            said = entry.predicate
            rules = self.rights.at(entry.index).rules.get("incidents", {})
            opened = incidents.setdefault((said["model"], said["version"]), {})
            permitted = rules.get("opened_by" if said["state"] == "open" else "closed_by")
            if permitted is not None and said["role"] not in permitted:
                continue
            if said["state"] == "open":
                opened[said["principal"]] = entry.index
            elif said["principal"] != requester or not opened.keys() - {requester}:
                opened.clear()
        return [index for opened in incidents.values() for index in opened.values()]

    def _during_incident(self, approval: Entry, packet: Entry) -> bool:
        """Whether somebody approved while an incident was open that the packet does not waive."""
        vote = approval.predicate
        if vote["decision"] != "approve" or vote.get("opened_at") is None:
            return False
        waived = {one["code"] for one in packet.predicate["waived"]}
        waived -= {one["code"] for one in packet.predicate["findings"]}
        opened = self._open_incidents(approval.index, None)
        return any("INCIDENT_OPEN" not in waived or index > packet.index for index in opened)

    def _accepts_incident(self, waiver: Json) -> bool:
        """Whether a waiver accepts open incidents at the time of the move."""
        limits, model = self.rules.get("waivers", {"max_days": 0}), self.move["model"]
        if (waiver["finding"], waiver["model"]) != ("INCIDENT_OPEN", model):
            return False
        if waiver["about"] != f"model {model}" or "INCIDENT_OPEN" in limits.get("never", []):
            return False
        if waiver["role"] not in limits.get("accepted_by", []):
            return False
        days = self.tier.get("waiver_days")
        longest = timedelta(days=limits["max_days"] if days is None else days)
        at = datetime.fromisoformat(self.move["at"])
        begins = datetime.fromisoformat(waiver["at"])
        ends = datetime.fromisoformat(waiver["expires"])
        return ends - begins <= longest and begins <= at < ends

    def _packet(self) -> Entry:
        """The packet that was promoted: it shows the registration and every waived finding."""
        packet = [one for one in self.packets if one.index < self.entry.index][-1]
        need(("packet", self.move["packet"]) in packet.subjects, "digest of the packet")
        need(packet.predicate["policy"] == self.policy.digest, "policies of the packet")
        registered = [one.predicate for one in self.of_model if one.kind == "registration"]
        registered = [one for one in registered if one["version"] == self.move["version"]]
        need(registered, "the registration of the version")
        for term in ("model", "model_digest", "files", "stage"):
            need(registered[-1][term] == packet.predicate[term], f"{term} of the packet")
        shown = [_finding(one) for one in packet.predicate["waived"]]
        for one in self.move["waived"]:
            need(_finding(one) in shown, "a waived finding that the packet does not show")
        return packet

    def _check_people(self) -> None:
        """Enough people asked for a rollback or retirement, or one in an emergency."""
        request, rule = self.request.predicate, self.rules["aliases"][min(self._aliases())]
        roles = self.rules.get("seconded_by")
        agrees = {}
        for entry in self.votes("promotion"):
            vote = entry.predicate
            if entry.about(self.request.digest) and (not roles or vote["role"] in roles):
                yes = vote["decision"] == "approve"
                agrees[vote["principal"]] = yes and _in_force(vote, self.move["at"])
        names = {request["principal"], *(name for name, yes in agrees.items() if yes)}
        wanted = rule.get("rollback_people", 1)
        if self.move["action"] == "retire":
            wanted = max(2, self.tier["approvals"])
        emergency = request["break_glass"] and request["role"] in rule.get("break_glass", [])
        alone = emergency and self.move["action"] == "rollback"
        people = set(map(self.rights.person, names))
        need(alone or len(people) >= wanted, "too few people asked for it")

    def _check_approvals(self, packet: Entry) -> None:
        """As many people in different roles approved as the tier asks; no author counts."""
        votes: dict[tuple[str, str], str] = {}
        for entry in self.votes("packet"):
            vote = entry.predicate
            if entry.index < packet.index or entry.subjects[0][1] != self.move["packet"]:
                continue
            if self._fits(vote) and not self._during_incident(entry, packet):
                votes[vote["principal"], vote["role"]] = vote["decision"]
        need("reject" not in votes.values(), "somebody rejected the packet")
        authors = set(map(self.rights.person, self._authors(packet)))
        free = [(self.rights.person(name), role) for name, role in votes]
        free = [(person, role) for person, role in free if person not in authors]
        wanted = self.tier["approvals"]
        enough = any(
            len({person for person, _ in some}) == len({role for _, role in some}) == wanted
            for some in combinations(free, wanted)
        )
        need(enough, "too few approvals")

    def _fits(self, vote: Json) -> bool:
        named = vote["role"] in self.tier["approvers"] and vote["model"] == self.move["model"]
        alias = vote["alias"] in (None, self.move["alias"])
        return named and alias and vote["page"] is not None and _in_force(vote, self.move["at"])

    def _authors(self, packet: Entry) -> set[str]:
        """Who asked for, signed or requested what is approved."""
        stages = {step["statement"] for step in packet.predicate["stages"]}
        authors = {self.request.predicate["principal"]}
        for entry in self.before:
            if entry.digest not in stages or entry.kind not in ("train", "base", "evaluate"):
                continue
            if entry.kind == "evaluate" and entry.predicate["model"] != self.move["model_digest"]:
                continue
            if entry.signer in self.policy.owner:
                authors.add(self.policy.owner[entry.signer]["name"])
            authors.add(self._who_asked(entry))
        return authors

    def _who_asked(self, entry: Entry) -> str:
        """The person who asked for a run, by an authorization that was valid when it started."""
        run = entry.predicate["run"]
        name: str = run["requested_by"]["name"]
        digest = run["requested_by"]["authorization"]
        lets = [one for one in self.before if one.kind == "authorization" and one.digest == digest]
        need(lets and lets[0].index < entry.index, "authorization of a run")
        need(lets[0].predicate["principal"] == name, "principal of an authorization")
        need(run["started"] < lets[0].predicate["expires"], "an authorization that had ended")
        return name


def _finding(finding: Json) -> tuple[str, str, list[str]]:
    """What a waiver accepts: code, subject and figures; older findings have these in their text."""
    numbers = re.findall(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.-])", finding["found"])
    return finding["code"], finding["subject"], finding.get("figures") or numbers


def _in_force(vote: Json, at: str) -> bool:
    begun = vote["decision"] == "reject" or vote["at"] <= at
    return begun and (vote["expires"] is None or at < vote["expires"])


# -- the command -----------------------------------------------------------------------------------
def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    lead, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=lead, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, help="the bundle's file")
    parser.add_argument("--origin", help="SHA-256 of entry 0, or id of the checkpoint key")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        with options.bundle.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        parser.error(f"{options.bundle}: {error.strerror}")
    try:
        summary = verify(data, options.origin)
    except Refused as error:
        reason = "".join(char if char.isprintable() else "?" for char in str(error))
        answer = {"verified": False, "reason": reason}
        print(json.dumps(answer) if options.json else f"DOES NOT VERIFY: {reason}")
        return DOES_NOT_VERIFY
    if options.json:
        print(json.dumps({"verified": True, **summary}, indent=2))
        return 0
    print("VERIFIES: {model}/{version}, sha256 {digest}".format_map(summary))
    print("log       {entries} of {size} entries, root {root}".format_map(summary))
    print("origin    {first}".format_map(summary))
    for move in summary["moves"] or ["none"]:
        print(f"moves     {move}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
