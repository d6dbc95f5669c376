"""Records that were erased on request and never come back: `policies/exclusions.jsonl`.

1. Each line is the list of one erasure: HMACs under the project's record key of record ids, of
   whole texts, and of values such as an address. Nobody without the key can test a guess.
2. Every ingest of every dataset leaves out a record whose id is in a list, and one with a text or a
   value of a list. Values are looked for as whole words, as `pipelines.plain_text` compares them.
3. A list has a root: the RFC 6962 root over its salted entries. The log names the root of each
   erasure, an ingest those that it applied. A list without an entry has another root, and a gate
   refuses the data (ERASED_DATA_USED).
4. A list that was made under another record key applies to nothing, and no ingest states its root.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Exclusions
from governance.attest.predicates.erasure import Reference
from governance.base.errors import ConfigError
from governance.base.model import Model
from governance.base.storage import write_atomic
from governance.log import merkle
from pipelines import json_texts
from pipelines.kinds import EXTRA, KINDS, PARTS
from pipelines.plain_text import WORD, folded, has_letter, plain_subject, plain_text
from pipelines.record_ids import Key
from pipelines.texts import CALLS

FILE = Path("policies") / "exclusions.jsonl"
NOTHING = sha256_bytes(b"")
"""Digest of a file without lists."""
REASON = "ERASED"
"""Code of a record that is left out."""
By = Literal["subject", "text", "record"]
"""What was asked for."""
Entry = Annotated[
    str, StringConstraints(pattern=r"^(record|text|words\d+|digits\d+):[0-9a-f]{64}$")
]
"""What is compared, and an HMAC. `words3`: of each three words in a row; `digits16`: of each number
of 16 digits, however it is grouped.
"""


class Listed(Model):
    """(1) The list of one erasure."""

    reference: Reference
    by: By
    record_key: str
    """Key id of the HMACs."""
    salt: str = Field(pattern=r"^[0-9a-f]{64}$")
    entries: list[Entry] = Field(min_length=1)

    @property
    def root(self) -> str:
        """(3)"""
        salt = bytes.fromhex(self.salt)
        return merkle.root_of(
            merkle.leaf_hash(salt + entry.encode()) for entry in sorted(set(self.entries))
        ).hex()


@dataclass(frozen=True)
class Excluding:
    """The lists that apply under one record key."""

    key: Key
    digest: str
    """sha256 of the file."""
    lists: Sequence[Listed] = ()
    _shapes: dict[str, frozenset[str]] = field(default_factory=dict, init=False)
    """What is compared to its HMACs."""

    def __post_init__(self) -> None:
        for entry in {entry for each in self.lists for entry in each.entries}:
            shape, _, mac = entry.partition(":")
            self._shapes[shape] = self._shapes.get(shape, frozenset()) | {mac}

    @property
    def stated(self) -> Exclusions | None:
        """What an ingest states of the lists; None where there is none."""
        if not self.lists:
            return None
        count = sum(len(macs) for macs in self._shapes.values())
        roots = sorted({each.root for each in self.lists})
        return Exclusions(digest=self.digest, count=count, roots=roots)

    def has(self, record: str, content: Mapping[str, Any], kind: str) -> bool:
        """(2) Whether a record with this id and content was erased."""
        if not self._shapes:
            return False
        if _mac(self.key, "record", record) in self._shapes.get("record", ()):
            return True
        by_text = self._shapes.keys() - {"record"}
        return bool(by_text) and any(map(self.has_text, texts_of(content, kind)))

    def has_text(self, text: str) -> bool:
        """Whether a text, or a value in it, was erased."""
        if _mac(self.key, "text", plain_text(text)) in self._shapes.get("text", ()):
            return True
        words: list[str] | None = None
        for shape, macs in self._shapes.items():
            if shape in ("record", "text"):
                continue
            words = WORD.findall(folded(text)) if words is None else words
            if any(_mac(self.key, "subject", one) in macs for one in _values(words, shape)):
                return True
        return False


def texts_of(content: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Every text of a record, as `pipelines.texts.texts` finds them in a table."""
    columns = KINDS[kind]
    for name in (*columns.message_columns, *columns.completion_columns, *columns.text_columns):
        yield from _texts(content.get(name))
    for name in columns.json_columns:
        if content.get(name) is not None:
            value = json_texts.loads(content[name])
            # the names of extra columns are of params.yaml
            for member in value.values() if name == EXTRA else (value,):
                yield from (text for _, text in json_texts.leaves(member, name))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for part in ("content", *PARTS):
            text = value.get(part)
            if text is not None and part == CALLS:
                yield from (leaf for _, leaf in json_texts.leaves(json_texts.loads(text), part))
            elif text is not None:
                yield text


def _values(words: Sequence[str], shape: str) -> Iterator[str]:
    """What a text has that may be a value of this shape."""
    what, size = re.fullmatch(r"(words|digits)(\d+)", shape).groups()  # type: ignore[union-attr]
    if what == "words":
        for start in range(len(words) - int(size) + 1):
            yield " ".join(words[start : start + int(size)])
        return
    for start, first in enumerate(words):
        joined, at = first, start
        while not has_letter(words[at]) and len(joined) < int(size) and at + 1 < len(words):
            at += 1
            joined += words[at]
        if len(joined) == int(size) and not has_letter(joined):
            yield joined


def _mac(key: Key, what: str, plain: str) -> str:
    return hmac.digest(key.secret, f"excluded {what}\n{plain}".encode(), "sha256").hex()


# --- entries --------------------------------------------------------------------------------------


def of_records(key: Key, records: Iterable[str]) -> set[str]:
    """The entries of record ids."""
    return {f"record:{_mac(key, 'record', record)}" for record in records}


def of_text(key: Key, text: str) -> str:
    """The entry of a whole text."""
    return f"text:{_mac(key, 'text', plain_text(text))}"


def of_subject(key: Key, value: str) -> str:
    """The entry of a value."""
    plain = plain_subject(value)
    words = plain.split()
    shape = f"words{len(words)}" if any(map(has_letter, words)) else f"digits{len(plain)}"
    return f"{shape}:{_mac(key, 'subject', plain)}"


# --- the file -------------------------------------------------------------------------------------


def read(root: Path) -> list[Listed]:
    """The lists of a project, in order. Raises `ConfigError`."""
    return _parsed(_bytes(root), root / FILE)


def excluding(root: Path, key: Key) -> Excluding:
    """(4) The lists that apply under a key. Raises `ConfigError`."""
    data = _bytes(root)
    lists = [each for each in _parsed(data, root / FILE) if each.record_key == key.key_id]
    return Excluding(key, sha256_bytes(data), lists)


def listed(
    root: Path,
    key: Key,
    reference: str,
    by: By,
    entries: Collection[str],
) -> tuple[Listed, bool]:
    """The list of an erasure with these entries, and whether it is in the file already. It has the
    entries of earlier lists of the same reference, too.
    """
    same = [
        each for each in read(root) if (each.reference, each.record_key) == (reference, key.key_id)
    ]
    wanted = {*entries, *(entry for each in same for entry in each.entries)}
    known = next((each for each in same if set(each.entries) == wanted), None)
    if known is not None:
        return known, True
    salt = secrets.token_hex(32)
    made = Listed(
        reference=reference, by=by, record_key=key.key_id, salt=salt, entries=sorted(wanted)
    )
    return made, False


def append(root: Path, made: Listed) -> None:
    """Adds a list in one step."""
    line = json.dumps(made.model_dump(mode="json"), sort_keys=True) + "\n"
    (root / FILE).parent.mkdir(exist_ok=True)
    write_atomic(root / FILE, _bytes(root) + line.encode())


def _bytes(root: Path) -> bytes:
    """The file's content; empty where there is no file, as in projects without erasures."""
    try:
        return (root / FILE).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        found = f"the exclusions cannot be read ({type(error).__name__})"
        raise ConfigError(found, where=str(FILE)) from None


def _parsed(data: bytes, path: Path) -> list[Listed]:
    lines = [line for line in data.split(b"\n") if line.strip()]
    try:
        return [Listed.model_validate_json(line) for line in lines]
    except ValidationError:
        fix = "restore the file: git log policies/exclusions.jsonl"
        raise ConfigError("not a list of exclusions", where=str(path), fix=fix) from None
