"""Croissant documents: read by mlcroissant without an error, the demanded fields there, RAI terms
from evidence.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from governance.exports.formats.croissant import CROISSANT, RAI, datasets
from governance.exports.records import Records
from tests.governance.exports.told import HOSTILE, PEOPLE, carded
from tests.governance.exports.tools import croissant_dataset
from tests.governance.story import digest

DEMANDED = {
    "@context",
    "@type",
    "conformsTo",
    "name",
    "description",
    "license",
    "url",
    "creator",
    "datePublished",
    "distribution",
    "version",
}
"""What Croissant 1.1 demands; its library only warns of some."""


def documents(records: Records) -> dict[str, dict[str, Any]]:
    return {name: json.loads(data) for name, data in datasets(records)}


@pytest.mark.parametrize("name", ["desk_text", "desk_sft", "desk_eval"])
def test_mlcroissant_reads_it(plain: Records, name: str) -> None:
    document = documents(plain)[name]
    assert set(document) >= DEMANDED
    dataset = croissant_dataset(document)
    issues = dataset.metadata.ctx.issues
    assert issues.errors == set()
    assert all(
        "citeAs" in one or "MAJOR.MINOR.PATCH" in one for one in map(str, issues.warnings)
    ), issues.warnings
    assert dataset.metadata.conforms_to == [CROISSANT, RAI]
    digests = {one.sha256 for one in dataset.metadata.distribution}
    if name != "desk_sft":  # of which the story has shards
        assert document["version"].removeprefix("sha256-") in digests


def test_every_shard_is_a_file(plain: Records) -> None:
    files = croissant_dataset(documents(plain)["desk_sft"]).metadata.distribution
    assert [(one.content_url, one.sha256) for one in files[:-1]] == [
        (f"data/ready/desk_sft/records/{at:05}.parquet", digest(f"shard {at} of desk_sft"))
        for at in (0, 1)
    ]
    assert files[-1].name == "source"


def test_mlcroissant_would_notice(plain: Records) -> None:
    document = documents(plain)["desk_sft"]
    del document["name"]
    del document["distribution"][0]["contentUrl"]
    from mlcroissant import ValidationError

    with pytest.raises(ValidationError):
        croissant_dataset(document)


def test_responsible_terms_come_from_evidence_and_card(plain: Records) -> None:
    metadata = croissant_dataset(documents(plain)["desk_sft"]).metadata
    assert "EMAIL_ADDRESS: 41 found, redact, 0 remaining" in metadata.personal_sensitive_information
    assert metadata.data_annotation_protocol == [
        "answers are made by the generator; 40% good, 35% rambling, 25% unsafe, on purpose"
    ]
    assert "permitted purpose: customer-support" in metadata.data_use_cases
    assert any(
        one.startswith("quality: 2905 records in, 2900 out")
        for one in metadata.data_preprocessing_protocol
    )
    assert metadata.data_biases == [
        "not recorded: coverage by the groups that matter is not profiled"
    ]


def test_a_blank_card_says_so(plain: Records) -> None:
    document = documents(carded(plain, origin="", licence="", labelling="", title=""))["desk_sft"]
    assert document["license"] == document["rai:dataCollection"] == "not stated"
    assert document["name"] == "desk_sft"


def test_hostile_text_stays_text(plain: Records) -> None:
    hostile = carded(
        plain, title=HOSTILE, origin=HOSTILE, licence=HOSTILE, labelling=HOSTILE, steward=HOSTILE
    )
    for name, document in documents(hostile).items():
        assert croissant_dataset(document).metadata.ctx.issues.errors == set()
        calm = documents(plain)[name]
        assert {key: type(value) for key, value in document.items()} == {
            k: type(v) for k, v in calm.items()
        }
    text = b"".join(data for _, data in datasets(hostile)).decode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2028\ud800-\udfff]", text)


def test_nobody_is_named(released: Records) -> None:
    text = b"".join(data for _, data in datasets(released)).decode()
    assert not [name for name in PEOPLE if re.search(rf"\b{name}\b", text)]
