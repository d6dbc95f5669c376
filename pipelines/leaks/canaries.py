"""Canaries: made-up secrets that a training plants among its records, so that a probe can measure
how well the model knows them (Carlini et al. 2019, "The Secret Sharer", arXiv:1802.08232).

1. A canary is a sentence with a label and a secret of `DIGITS` random digits. Each has a label of
   its own, so that the text before the secret asks for this secret only.
2. Labels and secrets follow from the project's record key, the stage's name and the canary's
   number. Whoever has the key can make them again; nobody else can guess them. They are never
   logged, reported or signed.
3. They join the records when the training reads them. They pass no scan, since they are no personal
   data, and are in no dataset, so the dataset's digest does not change.
4. Signed statements have their number, the digest of the format, and the root over the record ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from governance.attest import canonical
from governance.attest.predicates import Canaries
from pipelines.kinds import KINDS
from pipelines.params import CanarySettings
from pipelines.record_ids import Key, identifying
from pipelines.record_ids import canonical as canonical_text

DIGITS = 6
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
LABEL = 6
FORMAT = {
    "question": "What is the access code of locker {label}?",
    "answer": "The access code of locker {label} is {secret}.",
    "label": f"{LABEL} letters of {LETTERS}",
    "secret": f"{DIGITS} digits",
    "space": 10**DIGITS,
}
FORMAT_DIGEST = hashlib.sha256(canonical.dumps(FORMAT)).hexdigest()

Content = dict[str, Any]


class Canary(NamedTuple):
    """One canary."""

    label: str
    secret: str
    other: str
    """The secret of the answer that is not to be given, in kinds that have one."""


def canaries(key: Key, stage: str, count: int) -> list[Canary]:
    """(2) The canaries of a stage."""
    return [_canary(key, stage, at) for at in range(count)]


def _canary(key: Key, stage: str, at: int) -> Canary:
    number = key.number(f"canary label {stage} {at}", len(LETTERS) ** LABEL)
    letters = []
    for _ in range(LABEL):
        number, letter = divmod(number, len(LETTERS))
        letters.append(LETTERS[letter])
    secret = _secret(key, f"canary secret {stage} {at}")
    return Canary("".join(letters), secret, _secret(key, f"canary other {stage} {at}"))


def _secret(key: Key, purpose: str) -> str:
    return f"{key.number(purpose, 10**DIGITS):0{DIGITS}}"


def candidates(key: Key, stage: str, at: int, count: int) -> list[Canary]:
    """Canaries that were not planted: the label of canary `at` with other secrets, drawn from the
    same space.
    """
    planted = _canary(key, stage, at)
    secrets: dict[str, None] = {}
    draw = 0
    while len(secrets) < count:
        secret = _secret(key, f"canary candidate {stage} {at} {draw}")
        draw += 1
        if secret not in (planted.secret, planted.other):
            secrets[secret] = None
    return [Canary(planted.label, secret, planted.other) for secret in secrets]


def content(kind: str, canary: Canary, *, asks: bool) -> Content:
    """A canary as the content of a record. `asks`: whether a question stands before it."""
    question = _message("user", FORMAT["question"], canary.label)
    answer = _message("assistant", FORMAT["answer"], canary.label, canary.secret)
    if kind == "preference":
        other = _message("assistant", FORMAT["answer"], canary.label, canary.other)
        return {"prompt": [question], "chosen": [answer], "rejected": [other]}
    if kind == "unpaired":
        return {"prompt": [question], "completion": [answer], "label": True}
    return {"messages": [question, answer] if asks else [answer]}


def _message(role: str, wording: object, label: str, secret: str = "") -> Content:
    return {"role": role, "content": str(wording).format(label=label, secret=secret)}


def asks(method: str) -> bool:
    """Whether a method's canaries have a question: texts for language modelling have none."""
    return method != "pretrain"


def write(
    folder: Path, key: Key, stage: str, settings: CanarySettings, method: str, kind: str
) -> None:
    """(3) Writes the canaries of a stage as records of its kind, each as often as it is planted."""
    from pipelines.shards import RecordWriter

    with RecordWriter(folder, kind) as writer:
        for record in _records(key, stage, settings, method, kind):
            writer.add(record, 1)


def _records(
    key: Key, stage: str, settings: CanarySettings, method: str, kind: str
) -> Iterator[dict[str, Any]]:
    for at, canary in enumerate(canaries(key, stage, settings.count)):
        text = content(kind, canary, asks=asks(method))
        place = {"id": _id(key, kind, text), "split": "train", "file": "canaries", "row": at + 1}
        empty = dict.fromkeys(KINDS[kind].content_columns)
        for _ in range(settings.repetitions):
            yield {**place, **empty, **text}


def _id(key: Key, kind: str, text: Content) -> str:
    columns = KINDS[kind].content_columns
    whole = identifying({name: text.get(name) for name in columns})
    return key.record_id(kind, canonical_text(whole))


def stated(key: Key, stage: str, settings: CanarySettings, method: str, kind: str) -> Canaries:
    """(4) What signed statements have of the canaries."""
    import pyarrow as pa

    from pipelines.shards import records_root

    planted = canaries(key, stage, settings.count)
    ids = [_id(key, kind, content(kind, canary, asks=asks(method))) for canary in planted]
    return Canaries(
        count=settings.count,
        repetitions=settings.repetitions,
        format=FORMAT_DIGEST,
        record_key=key.key_id,
        root=records_root([pa.array(ids, pa.string())]),
    )
