"""The levels of the search for names: all beside the list, behind filter and cache."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.base.errors import ConfigError
from pipelines.pii import search as pii_search
from pipelines.pii.engine import PlainEngine, cannot_find
from pipelines.pii.ner import Onnx
from pipelines.pii.search import Found, Search
from tests.conftest import ROOT
from tests.pipelines.pii.test_engine import spacy_model
from tests.pipelines.policies import pii

PIECES = [
    "Anna Weber",
    "JAMES MILLER",
    "Dr. Wijtze",
    "Yitzhak Rabin",
    "Lahore",
    "University of Chicago",
    "Mark",
    "anna@example.com",
    "J. R. Smith",
    "van der",
    "asked",
    "in",
    "the",
    "H12234567",
    "İ",
    "中文",
    "\u200b",
    "@",
]
SIGNS = [" ", ", ", ". ", "\n", "", "’s ", "_"]


@cache
def by(ner: str) -> PlainEngine:
    return PlainEngine(pii(ner=ner), ROOT)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(SIGNS)), max_size=8))
def test_what_the_list_finds_the_tagger_beside_it_covers(pieces: list[tuple[str, str]]) -> None:
    text = "".join(piece + sign for piece, sign in pieces)
    more = by("tagger").find(text)
    for one in by("name-list").find(text):
        assert any(
            other.entity == one.entity
            and other.start <= one.start
            and one.end <= other.end
            and other.score >= one.score
            for other in more
        ), (text, one)


def test_each_level_is_named_with_its_digest(tmp_path: Path) -> None:
    spacy_model(tmp_path / "ner")
    described = [
        by("name-list").describe,
        by("tagger").describe,
        PlainEngine(pii(ner="spacy:ner"), tmp_path).describe,
    ]
    assert [one["level"] for one in described] == ["list", "list and tagger", "list and model"]
    assert len({one["ner_sha256"] for one in described}) == 3
    assert {"PERSON", "LOCATION", "ORGANIZATION"} <= set(by("tagger").entities)
    assert not {"LOCATION", "ORGANIZATION"} & set(by("name-list").entities)
    assert (
        len({tuple(cannot_find(pii(ner=ner))) for ner in ("name-list", "tagger", "spacy:x")}) == 3
    )


def test_cache_filter_and_processes_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{PIECES[n % len(PIECES)]} met Yitzhak Rabin in Lahore, {n}." for n in range(600)]

    def run(cores: int, kept: Path | None) -> tuple[list[Found], int]:
        with Search(by("tagger"), kept, b"key") as search:
            search._cores = cores
            return search.find(texts), search.searched

    plain, _ = run(1, None)
    assert {one.entity for one in plain[0].spans} >= {"PERSON", "LOCATION"}
    monkeypatch.setattr(pii_search, "FILTER_PAYS", 0)
    monkeypatch.setattr(pii_search, "CORES_PAY", 1)
    assert run(2, tmp_path / "pii.sqlite") == (plain, 600)
    assert run(2, tmp_path / "pii.sqlite") == (plain, 0)


def test_a_model_works_behind_filter_and_cache_and_beside_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hyperscan = pytest.importorskip("hyperscan")
    assert hyperscan
    spacy_model(tmp_path / "ner")
    engine = PlainEngine(pii(ner="spacy:ner"), tmp_path)
    read: list[str] = []
    model = engine.names[1]
    find = model.find
    monkeypatch.setattr(model, "find", lambda text: read.append(text) or find(text))
    monkeypatch.setattr(pii_search, "FILTER_PAYS", 0)
    for _ in range(2):
        with Search(engine, tmp_path / "pii.sqlite", b"key") as search:
            (found,) = search.find(["Zorblax Quux and John Smith."])
            assert type(search._fast).__name__ == "FilteredEngine"
    assert [one.entity for one in found.spans] == ["PERSON", "PERSON"]
    assert len(read) == 1


# --- a model in ONNX ------------------------------------------------------------------------------


def _field(number: int, value: int | bytes | str) -> bytes:
    """One field of protobuf's wire format."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    return bytes([value & 127 | 128]) + _varint(value >> 7)


def _value(name: str, kind: int, dims: list[str | int]) -> bytes:
    shape = b"".join(
        _field(1, _field(2, dim) if isinstance(dim, str) else _field(1, dim)) for dim in dims
    )
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def onnx_model(folder: Path) -> Path:
    """A model that looks each token up in a table of scores, written as ONNX files are."""
    import numpy as np
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir(parents=True)
    vocabulary = {word: n for n, word in enumerate(("[UNK]", "[CLS]", "[SEP]", "Zorblax", "Quux"))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    labels = {"0": "O", "1": "B-GIVEN_NAME", "2": "I-SURNAME", "3": "B-EMAIL"}
    (folder / "config.json").write_text(
        json.dumps({"id2label": labels, "max_position_embeddings": 8})
    )
    table = np.full((5, 4), -5, np.float32)
    table[[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]] = 5
    weights = _field(1, 5) + _field(1, 4) + _field(2, 1)
    weights += _field(8, "table") + _field(9, table.tobytes())
    node = _field(1, "table") + _field(1, "input_ids") + _field(2, "logits") + _field(4, "Gather")
    graph = _field(1, node) + _field(2, "g") + _field(5, weights)
    graph += _field(11, _value("input_ids", 7, ["batch", "tokens"]))
    graph += _field(12, _value("logits", 1, ["batch", "tokens", 4]))
    model = _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))
    (folder / "model.onnx").write_bytes(model)
    return folder


def test_an_onnx_model_finds_names_by_one_line_of_policy(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx_model(tmp_path / "models" / "inner")
    engine = PlainEngine(pii(ner="onnx:models"), tmp_path)
    text = "well " * 200 + "Zorblax Quux and John Smith or Quux"
    found = {(one.entity, text[one.start : one.end]) for one in engine.find(text)}
    assert found == {("PERSON", "Zorblax Quux"), ("PERSON", "John Smith"), ("PERSON", "Quux")}
    assert engine.describe["level"] == "list and model"
    assert isinstance(engine.names[1], Onnx) and engine.names[1].entities == ("PERSON",)


def test_a_folder_with_two_onnx_models_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        onnx_model(tmp_path / "models" / name)
    with pytest.raises(ConfigError, match="has 2 models"):
        PlainEngine(pii(ner="onnx:models"), tmp_path)
