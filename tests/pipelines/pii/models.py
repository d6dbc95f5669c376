"""Models that know one person, for tests."""

from __future__ import annotations

import json
from pathlib import Path


def spacy_model(folder: Path) -> Path:
    """A model that knows one person: an entity ruler, saved as spaCy saves models."""
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Zorblax Quux"}])  # type: ignore[attr-defined]
    pipeline.to_disk(folder)
    return folder


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
