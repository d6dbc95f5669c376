"""A second verifier of bundles, written from docs/formats.md alone: nothing of Countersign is
imported.

`verify(data, origin)` raises `Refused`. Numbers are the page's sections and steps.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

MEMBERS = {"format", "model", "version", "checkpoint", "entries", "files", "growth", "seal"}
STAGES = (
    "ingest",
    "scan",
    "quality",
    "base",
    "gate",
    "train",
    "evaluate",
    "registration",
    "promotion",
)


class Refused(Exception):
    """The bundle does not verify."""


UNREADABLE = (
    Refused,
    UnsupportedAlgorithm,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""What somebody recorded that nobody can read stops nobody else."""


def need(holds: object, why: str) -> None:
    if not holds:
        raise Refused(why)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- 1 and 2 ---------------------------------------------------------------------------------------
def parse(data: bytes) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(found)) == len(found), "a key twice")
        return dict(found)

    return json.loads(data.decode(), object_pairs_hook=pairs)


def unbase(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64")
    return data


def load(text: str) -> tuple[str, Ed25519PublicKey]:
    data = text.strip().encode()
    key = load_pem_public_key(data) if data.startswith(b"-----") else load_ssh_public_key(data)
    need(isinstance(key, Ed25519PublicKey), "a kind of key that is not known here")
    return sha(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)), key


def listing(files: dict[str, bytes]) -> str:
    rows = [
        {"path": path, "sha256": sha(data), "size": len(data)}
        for path, data in sorted(files.items())
    ]
    return sha(rfc8785.dumps(rows))


def hashes(proof: list[str]) -> int:
    need(
        isinstance(proof, list) and all(re.fullmatch(r"[0-9a-f]{64}", step) for step in proof),
        "a proof",
    )
    return len(proof)


class Entry:
    """An entry, taken apart; `signer` is known once somebody's key verified it."""

    def __init__(self, item: dict[str, Any]) -> None:
        need(set(item) == {"index", "envelope", "proof"}, "members of an entry")
        self.index, self.envelope, self.proof = item["index"], item["envelope"], item["proof"]
        need(type(self.index) is int and hashes(self.proof) <= 64, "index or proof")
        need(
            set(self.envelope) == {"payload", "payloadType", "signatures"}, "members of an envelope"
        )
        need(len(self.envelope["signatures"]) == 1, "exactly one signature")
        self.payload = unbase(self.envelope["payload"])
        said = parse(self.payload)
        need(
            set(said) == {"_type", "subject", "predicateType", "predicate"} and said["subject"],
            "a statement",
        )
        kind = re.fullmatch(r"https://countersign\.dev/evidence/(\w+)/v1", said["predicateType"])
        need(kind and said["_type"] == "https://in-toto.io/Statement/v1", "kind of statement")
        self.kind, self.said = kind[1] if kind else "", said["predicate"]
        self.subjects = [
            (one["annotations"]["role"], one["digest"]["sha256"]) for one in said["subject"]
        ]
        self.digest, self.leaf = (
            sha(self.payload),
            hashlib.sha256(b"\0" + rfc8785.dumps(self.envelope)).digest(),
        )
        self.signer, self.counts = "", False

    def check(self, keys: dict[str, Ed25519PublicKey]) -> None:
        kind = self.envelope["payloadType"]
        need(kind == "application/vnd.in-toto+json", "payload type")
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(self.payload), self.payload)
        known = [one for one in self.envelope["signatures"] if one["keyid"] in keys]
        need(known, f"entry {self.index}: unknown key")
        for one in known:
            keys[one["keyid"]].verify(unbase(one["sig"]), signed)
        self.signer = known[0]["keyid"]


# -- 3 ---------------------------------------------------------------------------------------------
def root_of(entry: Entry, size: int) -> bytes:
    need(0 <= entry.index < size, "index")
    at, last, value = entry.index, size - 1, entry.leaf
    for step in map(bytes.fromhex, entry.proof):
        need(last, "proof too long")
        right = at % 2 or at == last
        value = hashlib.sha256(b"\1" + (step + value if right else value + step)).digest()
        while right and not at % 2 and at:
            at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    need(last == 0, "proof too short")
    return value


def checkpoint(note: str) -> tuple[str, int, bytes, list[str]]:
    body, _, lines = note.partition("\n\n")
    origin, size, root = body.split("\n")
    need(lines.endswith("\n") and str(int(size)) == size, "checkpoint")
    return origin, int(size), unbase(root), lines[:-1].split("\n")


def signed_note(note: str, key: Ed25519PublicKey) -> None:
    origin, _, _, lines = checkpoint(note)
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    tag = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()[:4]
    mine = [
        unbase(line[len(origin) + 3 :]) for line in lines if line.startswith(f"\u2014 {origin} ")
    ]
    mine = [blob[4:] for blob in mine if blob[:4] == tag]
    need(len(mine) == 1, "not signed by the checkpoint key")
    key.verify(mine[0], note.partition("\n\n")[0].encode() + b"\n")


# -- 6 ---------------------------------------------------------------------------------------------
class Policy:
    def __init__(self, start: int, digest: str, files: dict[str, str]) -> None:
        self.start, self.digest, self.signed_at = start, digest, -1
        self.rules = block(files["policy.yaml"])
        self.keys = {
            load(text)[0]: load(text)[1] for one in self.rules["principals"] for text in one["keys"]
        }
        self.owner = {
            load(text)[0]: one for one in self.rules["principals"] for text in one["keys"]
        }


class Rights:
    def __init__(self, entries: list[Entry]) -> None:
        origin, self.log = entries[0].said, entries[0].leaf.hex()
        self.development = dict(load(pem) for pem in origin["development_keys"])
        self.recorded: dict[str, Policy] = {}
        self.periods: list[Policy] = []
        self.revoked: dict[str, int] = {}
        self.checkpoint = [(0, load(origin["checkpoint_key"]))]
        self.successors: dict[str, Any] = {}
        self.signed: dict[str, list[tuple[str, str, str]]] = {}
        self.spoken: dict[str, str] = {}
        for entry in entries:
            getattr(self, f"_{entry.kind}", lambda _: None)(entry)

    @property
    def known(self) -> dict[str, Ed25519PublicKey]:
        keys = dict(self.development)
        for policy in (*self.recorded.values(), *self.periods):
            keys |= policy.keys
        return keys

    def at(self, index: int) -> Policy:
        return next((one for one in reversed(self.periods) if one.start < index), self.periods[0])

    def owner(self, keyid: str, index: int) -> dict[str, Any] | None:
        return None if self.revoked.get(keyid, index) < index else self.at(index).owner.get(keyid)

    def speaks(self, entry: Entry) -> bool:
        who, said = self.owner(entry.signer, entry.index), entry.said
        if (
            who is None
            or who["kind"] != "person"
            or (who["name"], True) != (said["principal"], said["role"] in who["roles"])
            or said.get("log", self.log) != self.log
        ):
            return False
        return "until" not in who or said["at"][:10] <= who["until"]

    def counts(self, entry: Entry) -> bool:
        if "principal" in entry.said:
            return self.speaks(entry)
        if entry.kind not in STAGES:
            return True
        who = self.owner(entry.signer, entry.index)
        named = any(entry.signer in policy.keys for policy in self.periods)
        if named or entry.signer not in self.development:
            return who is not None and entry.kind in who.get("signs", [])
        free = self.at(entry.index).rules["development_keys"] == "candidate"
        return free and (entry.kind != "promotion" or entry.said["alias"] == "candidate")

    def _origin(self, entry: Entry) -> None:
        need(entry.index == 0, "a second origin")
        self._policy(entry)
        self.periods.append(self.recorded.pop(entry.subjects[0][1]))

    def _policy(self, entry: Entry) -> None:
        files, digest = entry.said["files"] or {}, entry.subjects[0][1]
        if files and listing({path: text.encode() for path, text in files.items()}) == digest:
            with suppress(*UNREADABLE):
                self.recorded[digest] = Policy(entry.index, digest, files)

    def _right(self, entry: Entry) -> dict[str, Any] | None:
        """Who signed, by the policies in force."""
        if not any(one["keyid"] in self.periods[-1].keys for one in entry.envelope["signatures"]):
            return None
        if entry.said.get("log", self.log) != self.log:
            return None
        entry.check(self.periods[-1].keys)
        return self.owner(entry.signer, entry.index)

    def _revocation(self, entry: Entry) -> None:
        who, keyid, now = self._right(entry), entry.subjects[0][1], self.periods[-1]
        mine = who and keyid in now.owner and now.owner[keyid]["name"] == who["name"]
        if who and (
            mine or {*now.rules.get("owners", {}).get("roles", [])} & {*who.get("roles", [])}
        ):
            self.revoked.setdefault(keyid, entry.index)

    def _checkpoint_key(self, entry: Entry) -> None:
        if any(one["keyid"] in self.periods[-1].keys for one in entry.envelope["signatures"]):
            with suppress(*UNREADABLE):
                self.successors[load(entry.said["pem"])[0]] = load(entry.said["pem"])

    def _approval(self, entry: Entry) -> None:
        said, digest, now = entry.said, entry.subjects[0][1], self.periods[-1]
        rights = said["about"] in ("policy", "checkpoint_key")
        if not rights or not self._right(entry) or not self.speaks(entry):
            return
        if said["decision"] != "approve" or said["expires"] is not None:
            self.signed[digest] = [
                one for one in self.signed.get(digest, []) if one[0] != said["principal"]
            ]
            return
        who = self.owner(entry.signer, entry.index) or {}
        self.signed.setdefault(digest, []).append(
            (said["principal"], said["role"], who.get("until", "9"))
        )
        self.spoken[digest] = max(said["at"], self.spoken.get(digest, ""))
        signed = [
            (name, role)
            for name, role, until in self.signed[digest]
            if self.spoken[digest][:10] <= until
        ]
        quorums = [now.rules[name] for name in ("owners", "recovery") if name in now.rules]
        people = [{name for name, role in signed if role in one["roles"]} for one in quorums]
        if not any(len(names) >= one["people"] for names, one in zip(people, quorums, strict=True)):
            return
        if said["about"] == "checkpoint_key":
            if digest in self.successors:
                self.checkpoint.append((entry.index, self.successors[digest]))
                del self.signed[digest]
        elif digest == now.digest:
            now.signed_at = entry.index if now.signed_at < 0 else now.signed_at
        elif digest in self.recorded:
            self.periods.append(self.recorded[digest])
            self.periods[-1].start = self.periods[-1].signed_at = entry.index
            self.signed = {}


# -- The policies' YAML, as far as policy.yaml uses it: block maps and lists, flow values, comments ---
TOKEN = re.compile(
    r'\s*(?:([\[\]{},])|("(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|[^\[\]{},:"\'#][^\[\]{},:#]*?)\s*(?=[\]},:]|$)|(:))'
)


def flow(text: str) -> Any:
    """A value on one line."""
    if text[:1] not in ("{", "["):
        return scalar(re.sub(r"\s+#.*$", "", text) if text[:1] not in "\"'" else text)
    text, at = re.sub(r"(?<=[}\]])\s+#.*$", "", text), 0

    def take() -> str:
        nonlocal at
        found = TOKEN.match(text, at)
        need(found, "YAML that is not read here")
        at = found.end() if found else 0
        return next(part for part in found.groups() if part) if found else ""

    def value(first: str) -> Any:
        if first not in "{[":
            return scalar(first)
        out: Any = {} if first == "{" else []
        while (token := take()) not in "}]":
            if token == ",":
                continue
            if first == "[":
                out.append(value(token))
                continue
            need(take() == ":" and scalar(token) not in out, "YAML map")
            out[scalar(token)] = value(take())
        return out

    found = value(take())
    need(not text[at:].strip(), "YAML after a value")
    return found


def scalar(text: str) -> Any:
    text = text.strip()
    if text[:1] == '"':
        return json.loads(text)
    if text[:1] == "'":
        return text[1:-1].replace("''", "'")
    need(text[:1] not in tuple("&*!|>%@`"), "YAML that is not read here")
    words = {"true": True, "false": False, "null": None, "~": None, "": None}
    number = (
        float if re.fullmatch(r"-?\d+\.\d+", text) else int if re.fullmatch(r"-?\d+", text) else str
    )
    return words[text] if text in words else number(text)


def block(text: str) -> Any:
    lines = [
        line.rstrip()
        for line in text.split("\n")
        if line.strip() and not line.lstrip().startswith("#")
    ]

    def indent(line: str) -> int:
        return len(line) - len(line.lstrip(" "))

    def node(depth: int) -> Any:
        out: Any = [] if lines[0].lstrip().startswith("- ") else {}
        while (
            lines
            and indent(lines[0]) == depth
            and lines[0].lstrip().startswith("- ") == isinstance(out, list)
        ):
            line = lines.pop(0).lstrip(" ")
            if isinstance(out, list):
                if re.match(r"- [\w.-]+:( |$)", line):  # a map that begins on the dash's line
                    lines.insert(0, " " * (depth + 2) + line[2:])
                    out.append(node(depth + 2))
                else:
                    out.append(flow(line[2:].strip()))
                continue
            key, colon, rest = re.sub(r":\s+#.*$", ":", line).partition(":")
            need(colon and (not rest or rest[0] == " ") and scalar(key) not in out, "YAML map")
            deeper = lines and (
                indent(lines[0]) > depth
                or (indent(lines[0]) == depth and lines[0].lstrip()[:2] == "- ")
            )
            out[scalar(key)] = (
                flow(rest.strip()) if rest.strip() else node(indent(lines[0])) if deeper else None
            )
        return out

    found = node(0)
    need(not lines, "YAML that is not read here")
    return found


# -- 4, 5 and 7 ------------------------------------------------------------------------------------
def verify(data: bytes, origin: str | None) -> None:
    """Raises `Refused` unless the bundle verifies and its log begins as pinned: leaf hash of entry
    0, or key id.
    """
    try:
        _verify(data, origin)
    except (
        InvalidSignature,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        RecursionError,
    ) as error:
        raise Refused(f"{type(error).__name__}: {error}") from error


def _verify(data: bytes, pin: str | None) -> None:
    need(len(data) <= 64 << 20, "size")
    bundle = parse(data)
    need(rfc8785.dumps(bundle) == data and set(bundle) == MEMBERS, "form")  # 5.1
    need(bundle["format"] == "https://countersign.dev/bundle/v1", "format")
    need(
        sha(rfc8785.dumps({name: value for name, value in bundle.items() if name != "seal"}))
        == bundle["seal"],
        "seal",
    )
    names = (("model", r"[a-z][a-z0-9_-]{0,62}"), ("version", r"[1-9][0-9]{0,9}"))
    need(all(re.fullmatch(pattern, bundle[name]) for name, pattern in names), "model or version")
    growth = bundle["growth"] or {"size": 0, "proof": []}
    need(
        set(growth) == {"size", "proof"} and type(growth["size"]) is int and growth["size"] >= 0,
        "growth",
    )
    need(bundle["growth"] in (None, growth) and hashes(growth["proof"]) <= 128, "growth")
    need(1 <= len(bundle["entries"]) <= 20_000 and len(bundle["files"]) <= 64, "how many")
    for file in bundle["files"]:
        need(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", file["name"]), "name of a file")
        need(
            set(file) == {"name", "sha256", "text"}
            and sha(file["text"].encode()) == file["sha256"],
            "file",
        )
    entries = [Entry(item) for item in bundle["entries"]]
    for ordered in (
        [entry.index for entry in entries],
        [file["sha256"] for file in bundle["files"]],
    ):
        need(ordered == sorted(set(ordered)), "order")
    name, size, root, _ = checkpoint(bundle["checkpoint"])
    need(all(root_of(entry, size) == root for entry in entries), "inclusion")  # 5.2
    first = entries[0]
    need(first.index == 0 and first.kind == "origin", "origin")  # 5.3
    need(
        name == f"countersign/{first.said['project']}/{first.leaf.hex()[:16]}",
        "checkpoint of another log",
    )
    rights = Rights(entries)
    since = [(at, key) for at, (_, key) in rights.checkpoint if at < size] or [
        (0, rights.checkpoint[0][1][1])
    ]
    try:
        signed_note(bundle["checkpoint"], since[-1][1])
    except (Refused, InvalidSignature):
        need(len(since) > 1 and since[-1][0] == size - 1, "checkpoint key")
        signed_note(bundle["checkpoint"], since[-2][1])
    for entry in entries:  # 5.4
        entry.check(rights.known)
        entry.counts = rights.counts(entry)
    _substance(bundle, [entry for entry in entries if entry.counts], rights)
    need(pin in (first.leaf.hex(), rights.checkpoint[0][1][0]), "origin not established")  # 5.8


def _substance(bundle: dict[str, Any], entries: list[Entry], rights: Rights) -> None:
    mine = [
        one
        for one in entries
        if (one.said.get("model"), one.said.get("version")) == (bundle["model"], bundle["version"])
    ]
    registered = [one for one in mine if one.kind == "registration"][-1].said  # 5.5
    rows = sorted(registered["files"], key=lambda row: row["path"])
    need(sha(rfc8785.dumps(rows)) == registered["model_digest"], "files of the registration")
    here = {(one.kind, one.digest) for one in entries}
    need(
        all((link["role"], link["sha256"]) in here for link in registered["chain"]),
        "a statement of the chain",
    )
    packets = [
        one for one in mine if one.kind == "packet" and _packet(one, registered["model_digest"])
    ]
    for one in packets[-1:]:  # 5.6
        named = [(step["kind"], step["statement"]) for step in one.said["stages"]]
        need(
            here.issuperset(named + [("waiver", digest) for digest in one.said["waivers"]]),
            "a statement of the packet",
        )
    for one in mine:  # 5.7
        if one.kind == "promotion" and one.said["allowed"] and one.said["alias"] != "candidate":
            _allowed(
                one,
                [entry for entry in entries if entry.index < one.index],
                packets,
                rights.at(one.index),
            )


def _packet(entry: Entry, model: str) -> bool:
    digest = sha(
        rfc8785.dumps({name: value for name, value in entry.said.items() if name != "run"})
    )
    return ("packet", digest) in entry.subjects and any(
        sha256 == model for _, sha256 in entry.subjects
    )


def _allowed(move: Entry, before: list[Entry], packets: list[Entry], policy: Policy) -> None:
    """7"""
    said, rules = move.said, policy.rules
    need(
        0 <= policy.signed_at < move.index and said["policy"] == policy.digest,
        "policies of the promotion",
    )
    request = [one for one in before if one.kind == "request" and one.digest == said["request"]][0]  # noqa: RUF015
    terms = ("action", "model", "version", "alias", "model_digest", "packet", "from_version")
    need(all(request.said[name] == said[name] for name in terms), "terms of the request")
    given = {said["alias"]}
    if said["action"] == "retire":
        mine = [one.said for one in before if one.kind == "promotion" and one.said["allowed"]]
        mine = [
            one
            for one in mine
            if (one["model"], one["version"]) == (said["model"], said["version"])
        ]
        given = {one["alias"] for one in mine} & set(rules["aliases"]) or {
            next(iter(rules["aliases"]))
        }
    need(
        all(request.said["role"] in rules["aliases"][alias]["requesters"] for alias in given),
        "requester",
    )
    rule = rules["aliases"][min(given)]
    need(request.said["at"] <= said["at"] < request.said["expires"], "time of the request")
    moves = [
        one
        for one in before
        if one.kind == "promotion" and one.said["allowed"] and one.said["model"] == said["model"]
    ]
    need(said["request"] not in [one.said["request"] for one in moves], "request spent")
    held = None
    for one in moves:
        if one.said["action"] == "retire":
            held = None if held == one.said["version"] else held
        elif one.said["alias"] == said["alias"]:
            held = one.said["version"]
    need(said["from_version"] == held, "who held the alias before")
    about = [
        one for one in before if any(sha256 == said["model_digest"] for _, sha256 in one.subjects)
    ]
    opened: dict[tuple[str, str], dict[str, int]] = {}
    for word in (one for one in about if one.kind == "incident"):
        one = word.said
        by, may = opened.setdefault((one["model"], one["version"]), {}), rules.get("incidents", {})
        if one["role"] not in may.get(
            "opened_by" if one["state"] == "open" else "closed_by", [one["role"]]
        ):
            continue
        if one["state"] == "open":
            by[one["principal"]] = word.index
        elif one["principal"] != request.said["principal"] or not by.keys() - {one["principal"]}:
            by.clear()
    accepted = max(
        (one.index for one in about if one.kind == "waiver" and _accepts(one.said, said, rules)),
        default=-1,
    )
    need(all(index < accepted for by in opened.values() for index in by.values()), "incident")
    if said["action"] == "promote":
        packet = [one for one in packets if one.index < move.index][-1]
        need(
            ("packet", said["packet"]) in packet.subjects
            and packet.said["policy"] == policy.digest,
            "packet",
        )
        mine = [
            one
            for one in about
            if one.kind == "registration" and one.said["version"] == said["version"]
        ]
        terms = ("model", "model_digest", "files", "stage")
        need(
            mine and all(mine[-1].said[name] == packet.said[name] for name in terms), "registration"
        )
        shown = [(one["code"], one["subject"], one["found"]) for one in packet.said["waived"]]
        need(
            all((one["code"], one["subject"], one["found"]) in shown for one in said["waived"]),
            "waived unseen",
        )
        _approved(move, before, packet, request, rules)
        return
    if said["action"] == "rollback":
        terms = ("model_digest", "alias")
        was = [
            one
            for one in moves
            if one.said["action"] == "promote" and all(one.said[t] == said[t] for t in terms)
        ]
        need(was, "a version that never held the alias")
    votes = [one for one in before if one.kind == "approval" and one.said["about"] == "promotion"]
    votes = [one for one in votes if any(sha256 == request.digest for _, sha256 in one.subjects)]
    votes = [
        one for one in votes if one.said["role"] in (rules.get("seconded_by") or [one.said["role"]])
    ]
    last_word = {
        one.said["principal"]: one.said["decision"] == "approve" and in_force(one, said["at"])
        for one in votes
    }
    people = {request.said["principal"], *(name for name, yes in last_word.items() if yes)}
    wanted = rule.get("rollback_people", 1)
    if said["action"] == "retire":
        wanted = max(2, rules["tiers"][rules["models"][said["model"]]["tier"]]["approvals"])
    alone = request.said["break_glass"] and request.said["role"] in rule.get("break_glass", [])
    need(len(people) >= wanted or (alone and said["action"] == "rollback"), "people behind it")


def _accepts(waiver: dict[str, Any], said: dict[str, Any], rules: dict[str, Any]) -> bool:
    """Whether it passes open incidents at the time of a promotion."""
    limits, model = rules.get("waivers", {"max_days": 0}), said["model"]
    days = rules["tiers"][rules["models"][model]["tier"]].get("waiver_days")
    at, begun, ends = (
        datetime.fromisoformat(text) for text in (said["at"], waiver["at"], waiver["expires"])
    )
    return (
        (waiver["finding"], waiver["model"], waiver["about"])
        == ("INCIDENT_OPEN", model, f"model {model}")
        and "INCIDENT_OPEN" not in limits.get("never", [])
        and waiver["role"] in limits.get("accepted_by", [])
        and ends - begun <= timedelta(days=limits["max_days"] if days is None else days)
        and begun <= at < ends
    )


def in_force(vote: Entry, at: str) -> bool:
    begun = vote.said["decision"] == "reject" or vote.said["at"] <= at
    return begun and (vote.said["expires"] is None or at < vote.said["expires"])


def _approved(
    move: Entry, before: list[Entry], packet: Entry, request: Entry, rules: dict[str, Any]
) -> None:
    said, tier = move.said, rules["tiers"][rules["models"][move.said["model"]]["tier"]]
    names = {load(text)[0]: one["name"] for one in rules["principals"] for text in one["keys"]}
    stages = {step["statement"] for step in packet.said["stages"]}
    made = [
        one for one in before if one.digest in stages and one.kind in ("train", "base", "evaluate")
    ]
    made = [
        one for one in made if one.kind != "evaluate" or one.said["model"] == said["model_digest"]
    ]
    authors = {request.said["principal"], *(names.get(one.signer) for one in made)}
    for one in made:
        asked = one.said["run"]["requested_by"]
        authors.add(asked["name"])
        lets = [
            each
            for each in before
            if each.kind == "authorization" and each.digest == asked["authorization"]
        ]
        need(
            lets and lets[0].index < one.index and lets[0].said["principal"] == asked["name"],
            "authorization",
        )
        need(one.said["run"]["started"] < lets[0].said["expires"], "authorization's end")
    last: dict[tuple[str, str], str] = {}
    for one in before:
        vote = one.said
        if (
            one.kind != "approval"
            or one.index < packet.index
            or (vote["about"], one.subjects[0][1]) != ("packet", said["packet"])
        ):
            continue
        fits = (
            vote["role"] in tier["approvers"]
            and vote["model"] == said["model"]
            and vote["page"] is not None
        )
        if fits and in_force(one, said["at"]) and vote["alias"] in (None, said["alias"]):
            last[vote["principal"], vote["role"]] = vote["decision"]
    need("reject" not in last.values(), "rejected")
    holder: dict[str, str] = {}

    def place(who: str, tried: set[str]) -> bool:
        for role in [role for name, role in last if name == who and role not in tried]:
            tried.add(role)
            if role not in holder or place(holder[role], tried):
                holder[role] = who
                return True
        return False

    people = sum(place(who, set()) for who in sorted({name for name, _ in last} - authors))
    need(people >= tier["approvals"], "approvals")
