"""What finds names: the list, always; beside it the light tagger or a real model, if policy names
one.

1. Every source gives the same for the same text, whatever was searched before. So the cache keeps
   its findings, and no model runs again on an unchanged text.
2. Models are loaded from this machine, from safetensors or ONNX files, and run in one thread.
3. Whatever a model calls a person, place, organisation or address gets Presidio's name for it.
   Other labels are ignored: patterns find those.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from governance.base.errors import ConfigError
from governance.policy.data import PiiPolicy
from pipelines.pii import names as pii_names

Named = tuple[int, int, str, float]
"""Start, end, entity and score."""

WHERE = "policies/pii.yaml: ner"

ENTITIES = {
    **dict.fromkeys(("PER", "PERSON", "PERS", "GIVEN_NAME", "GIVENNAME", "SURNAME"), "PERSON"),
    **dict.fromkeys(("LOC", "LOCATION", "GPE", "FAC", "CITY", "STATE"), "LOCATION"),
    **dict.fromkeys(("ORG", "ORGANIZATION"), "ORGANIZATION"),
    **dict.fromkeys(("NORP", "NRP"), "NRP"),
    **dict.fromkeys(("BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "ADDRESS"), "ADDRESS"),
    **dict.fromkeys(("DATE", "TIME"), "DATE_TIME"),
}
"""Label of a model to the entity."""

PACKAGES = {
    "tagger": ("numpy",),
    "onnx": ("numpy", "onnxruntime", "tokenizers"),
    "transformers": ("tokenizers", "torch", "transformers"),
}
"""Packages by source, whose versions can change what it finds."""

SPACY_SCORE = 0.85
"""spaCy gives no probabilities; Presidio uses this score."""

LEAST = 0.5
"""The least probability of a token that a model labels."""

CHARACTERS, SHARED = 480, 64
"""Characters that a model reads at once, and those that neighbouring pieces share."""


class Source(Protocol):
    """Finds names in one text."""

    name: str
    """For `recognizer_thresholds` of the policy."""
    entities: tuple[str, ...]

    def find(self, text: str) -> Iterator[Named] | list[Named]:
        """The names in `text`."""
        ...


def sources(policy: PiiPolicy, model: Path | None) -> list[Source]:
    """The list, and what policy names beside it. `model`: the folder of a model."""
    if policy.ner == "name-list":
        return [NameList()]
    if policy.ner == "tagger":
        from pipelines.pii.tagger.model import Tagger

        return [NameList(), Tagger()]
    if model is None:
        raise ConfigError(f"no model for {policy.ner!r}", where=WHERE)
    kinds: dict[str, type[Spacy | Transformers | Onnx]] = {
        "spacy": Spacy,
        "transformers": Transformers,
        "onnx": Onnx,
    }
    return [NameList(), kinds[policy.ner.partition(":")[0]](policy, model)]


def file_of(policy: PiiPolicy, model: Path | None) -> Path:
    """What decides which names are found: the list, the tagger's weights or the model's folder."""
    if policy.ner == "tagger":
        from pipelines.pii.tagger.model import FILE

        return FILE
    return model or pii_names.FILE


def model_folder(ner: str, root: Path) -> Path | None:
    """The folder of the model that policy names. Raises `ConfigError` if it is missing or could run
    code.
    """
    kind, _, name = ner.partition(":")
    if not name:
        return None
    folder = root / name
    if kind in ("spacy", "onnx") and not folder.is_dir():
        folder = _package(name) or folder
    if not folder.is_dir():
        expected = "a folder (spacy:, onnx: or an installed package)"
        raise ConfigError(f"no model {name!r}", where=WHERE, expected=expected)
    if kind == "transformers" and not list(folder.glob("*.safetensors")):
        found, fix = f"{name!r} has no safetensors weights", "pickled weights can run code"
        raise ConfigError(found, where=WHERE, fix=fix)
    if kind == "onnx":
        return _only_folder(folder, name)
    return folder


def _package(name: str) -> Path | None:
    """The folder of an installed package, which is not imported."""
    import importlib.util

    if not name.isidentifier():
        return None
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _only_folder(folder: Path, name: str) -> Path:
    """The one folder with a tokenizer, its labels and an ONNX model."""
    found = [
        file.parent
        for file in sorted(folder.rglob("tokenizer.json"))
        if (file.parent / "config.json").is_file() and len(list(file.parent.rglob("*.onnx"))) == 1
    ]
    if len(found) != 1:
        expected = "one folder with tokenizer.json, config.json and one .onnx file"
        raise ConfigError(f"{name!r} has {len(found)} models", where=WHERE, expected=expected)
    return found[0]


class NameList:
    """People by a list of frequent names and by titles."""

    name = "NameListRecognizer"
    entities: tuple[str, ...] = ("PERSON",)

    def find(self, text: str) -> Iterator[Named]:
        """See `Source`."""
        return ((start, end, "PERSON", score) for start, end, score in pii_names.find(text))


class Spacy:
    """A spaCy pipeline."""

    name = "SpacyRecognizer"

    def __init__(self, policy: PiiPolicy, model: Path) -> None:
        import spacy

        self._pipeline = spacy.load(model)
        if self._pipeline.lang not in policy.languages:
            found, known = f"a model of {self._pipeline.lang!r}", ", ".join(policy.languages)
            raise ConfigError(found, where=WHERE, expected=known)
        labels = [
            label
            for pipe in ("ner", "entity_ruler")
            if pipe in self._pipeline.pipe_names
            for label in self._pipeline.get_pipe(pipe).labels
        ]
        self.entities = _entities(labels)

    def find(self, text: str) -> Iterator[Named]:
        """See `Source`."""
        for span in self._pipeline(text).ents:
            if span.label_ in ENTITIES:
                yield span.start_char, span.end_char, ENTITIES[span.label_], SPACY_SCORE


class _Tokens(ABC):
    """A model that labels tokens."""

    def __init__(self, policy: PiiPolicy, model: Path) -> None:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        labels = {int(number): str(label) for number, label in config["id2label"].items()}
        self._entity = [ENTITIES.get(_bare(labels[number])) for number in sorted(labels)]
        self.entities = _entities([_bare(label) for label in labels.values()])
        self._folder = model
        self._longest = int(config.get("max_position_embeddings", 512)) - 2

    def find(self, text: str) -> list[Named]:
        """See `Source`."""
        found: list[Named] = []
        for at in range(0, max(len(text) - SHARED, 1), CHARACTERS - SHARED):
            piece = text[at : at + CHARACTERS]
            for start, end, entity, score in self._piece(piece):
                found.append((at + start, at + end, entity, score))
        return found

    def _piece(self, text: str) -> Iterator[Named]:
        """Tokens of the same kind that only white space separates are one name."""
        ids, places = self._tokens(text)
        last: Named | None = None
        for first in range(0, len(ids), self._longest):
            part = slice(first, first + self._longest)
            chances = self._chances(ids[part])
            best = chances.argmax(-1)
            for row, (start, end) in enumerate(places[part]):
                entity, chance = self._entity[best[row]], float(chances[row, best[row]])
                if entity is None or chance < LEAST or start == end:
                    continue
                if last and last[2] == entity and not text[last[1] : start].strip():
                    last = (last[0], end, entity, max(last[3], round(chance, 2)))
                    continue
                if last:
                    yield last
                last = (start, end, entity, round(chance, 2))
        if last:
            yield last

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _ends(self) -> tuple[list[int], list[int]]:
        """The special tokens before and after a text."""
        whole = self._tokenizer.encode("a").ids
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        before = next(
            (at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), len(whole)
        )
        return whole[:before], whole[before + len(bare) :]

    def _tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        return encoded.ids, encoded.offsets

    def _chances(self, ids: list[int]) -> Any:
        """Probability by token and label."""
        import numpy as np

        before, after = self._ends
        scores = self._scores([*before, *ids, *after])[len(before) : len(before) + len(ids)]
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        return scores / scores.sum(-1, keepdims=True)

    @abstractmethod
    def _scores(self, ids: list[int]) -> Any:
        """Score by token and label."""


class Onnx(_Tokens):
    """A token classification model in ONNX."""

    name = "OnnxRecognizer"

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime
        except ImportError:
            fix = "pip install onnxruntime"
            raise ConfigError("onnxruntime is not installed", where=WHERE, fix=fix) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        (file,) = self._folder.rglob("*.onnx")
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def __init__(self, policy: PiiPolicy, model: Path) -> None:
        super().__init__(policy, model)
        self._inputs = {one.name for one in self._session.get_inputs()}

    def _scores(self, ids: list[int]) -> Any:
        import numpy as np

        values = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, len(ids)), np.int64),
            "token_type_ids": np.zeros((1, len(ids)), np.int64),
        }
        given = {name: value for name, value in values.items() if name in self._inputs}
        return self._session.run(None, given)[0][0].astype(np.float32)


class Transformers(_Tokens):
    """A token classification model of Hugging Face's library, from safetensors."""

    name = "HuggingFaceNerRecognizer"

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import AutoModelForTokenClassification

        torch.set_num_threads(1)
        model = AutoModelForTokenClassification.from_pretrained(
            str(self._folder), local_files_only=True, use_safetensors=True
        )
        return model.eval()

    def _scores(self, ids: list[int]) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(input_ids=torch.tensor([ids])).logits[0].float().numpy()


def _bare(label: str) -> str:
    """A label without the mark of its place in a name (B-, I-)."""
    return label[2:] if label[1:2] == "-" else label


def _entities(labels: list[str]) -> tuple[str, ...]:
    return tuple(sorted({ENTITIES[label] for label in labels if label in ENTITIES}))
