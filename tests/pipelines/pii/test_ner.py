"""The levels of the search for names: all beside the list, behind filter and cache."""

from __future__ import annotations

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
from tests.pipelines.pii.models import onnx_model, spacy_model
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


@pytest.mark.slow
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
    for expected in ("FilteredEngine", "NoneType"):  # the second time, nothing is new
        with Search(engine, tmp_path / "pii.sqlite", b"key") as search:
            (found,) = search.find(["Zorblax Quux and John Smith."])
            assert type(search._fast).__name__ == expected
    assert [one.entity for one in found.spans] == ["PERSON", "PERSON"]
    assert len(read) == 1


# --- a model in ONNX ------------------------------------------------------------------------------


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
