"""A model from outside: what is taken, what is refused, and that the same source is the same
folder.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.attest import digests
from governance.base.errors import ConfigError, CountersignError, InputError, OfflineError
from governance.models import weights
from pipelines.params import Base
from pipelines.stages import import_base as base
from pipelines.training.tokenizer import chat_template
from tests.conftest import ROOT
from tests.pipelines.jobs import job

SIX = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def safetensors(header: Any, numbers: int = 24, *, raw: bytes | None = None) -> bytes:
    """A safetensors file with any header."""
    text = json.dumps(header).encode() if raw is None else raw
    return struct.pack("<Q", len(text)) + text + bytes(numbers)


GOOD = safetensors({"__metadata__": {"format": "pt"}, "model.embed.weight": SIX})


def model(folder: Path) -> Path:
    """A model folder as it might be downloaded."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2", "vocab_size": 2}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("# a model")
    (folder / "model.safetensors").write_bytes(GOOD)
    return folder


def take(folder: Path, tmp_path: Path) -> list[str]:
    target = tmp_path / "taken"
    target.mkdir()
    base.take_folder(folder, target)
    return sorted(path.name for path in target.iterdir())


def test_only_what_a_model_needs_is_taken(tmp_path: Path) -> None:
    assert take(model(tmp_path / "m"), tmp_path) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def write(name: str, content: bytes | str) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def index(**weight_map: str) -> str:
    return json.dumps({"weight_map": weight_map})


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickle beside": (
        write("pytorch_model.bin", b"\x80\x04"),
        "weights in formats that can run code when they are loaded: pytorch_model.bin",
    ),
    "torch pickle": (write("extra.pt", b"PK"), "extra.pt"),
    "code": (write("modeling_x.py", "import os"), "the model has code: modeling_x.py"),
    "auto_map": (
        write("config.json", '{"auto_map": {"AutoModel": "m.X"}}'),
        "config.json names code of its own",
    ),
    "auto_map of the tokenizer": (
        write("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["t.X", null]}}'),
        "names code of its own",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no *.safetensors"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "renamed pickle": (write("model.safetensors", b"\x80\x04\x95" + bytes(40)), "header of"),
    "empty file": (write("model.safetensors", b""), "header of -1 bytes"),
    "huge header": (
        write("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}"),
        "header of 1099511627776 bytes",
    ),
    "header is no JSON": (write("model.safetensors", safetensors(None, raw=b"{nope}")), "header: "),
    "header is a list": (write("model.safetensors", safetensors([])), "no JSON object"),
    "duplicate tensors": (
        write(
            "model.safetensors",
            safetensors(None, raw=b'{"a":%s,"a":%s}' % ((json.dumps(SIX).encode(),) * 2)),
        ),
        "duplicate",
    ),
    "traversal in a name": (
        write("model.safetensors", safetensors({"../../etc/x": SIX})),
        "no parameter's name",
    ),
    "absolute name": (
        write("model.safetensors", safetensors({"/etc/x": SIX})),
        "no parameter's name",
    ),
    "control character": (
        write("model.safetensors", safetensors({"a\x00b": SIX})),
        "no parameter's name",
    ),
    "unknown type": (
        write("model.safetensors", safetensors({"a": {**SIX, "dtype": "P8"}})),
        "do not agree",
    ),
    "wrong size": (
        write("model.safetensors", safetensors({"a": {**SIX, "shape": [2, 4]}})),
        "do not agree",
    ),
    "negative shape": (
        write("model.safetensors", safetensors({"a": {**SIX, "shape": [-2, -3]}})),
        "do not agree",
    ),
    "true as a number": (
        write("model.safetensors", safetensors({"a": {**SIX, "data_offsets": [False, 24]}})),
        "do not agree",
    ),
    "extra field": (
        write("model.safetensors", safetensors({"a": {**SIX, "code": "x"}})),
        "not dtype, shape",
    ),
    "overlap": (
        write(
            "model.safetensors", safetensors({"a": SIX, "b": {**SIX, "data_offsets": [12, 36]}}, 36)
        ),
        "overlapping tensors",
    ),
    "hole": (
        write("model.safetensors", safetensors({"a": {**SIX, "data_offsets": [8, 32]}}, 32)),
        "a hole",
    ),
    "trailing bytes": (
        write("model.safetensors", GOOD + b"tail"),
        "28 bytes of numbers, 24 described",
    ),
    "truncated": (write("model.safetensors", GOOD[:-4]), "20 bytes of numbers, 24 described"),
    "two files, no index": (write("model-2.safetensors", GOOD), "2 weight files and no index"),
    "index names another": (
        write("model.safetensors.index.json", index(a="../x.safetensors")),
        "differ: ../x.safetensors",
    ),
    "index is nonsense": (
        write("model.safetensors.index.json", '{"weight_map": []}'),
        "not an index",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    spoil, said = REFUSED[name]
    folder = model(tmp_path / "m")
    spoil(folder)
    with pytest.raises(InputError) as caught:
        take(folder, tmp_path)
    assert said in str(caught.value)


def test_shards_with_their_index_are_taken(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    write("model.safetensors.index.json", index(a="model-00001-of-00001.safetensors"))(folder)
    assert "model-00001-of-00001.safetensors" in take(folder, tmp_path)


def test_what_torch_and_safetensors_write_is_accepted(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {
        "a": torch.zeros(3, 2),
        "b": torch.ones(5, dtype=torch.bfloat16),
        "c": torch.zeros(0),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    weights.check_safetensors(tmp_path / "x.safetensors")


def test_the_shipped_architecture_becomes_a_base_and_stays_the_same(tmp_path: Path) -> None:
    seen = []
    for part in ("one", "two"):
        made = job(base, "import_base", "tiny", ROOT, tmp_path / part)
        outcome = base.run(made)
        assert outcome.predicate == {
            "source": "builtin:tiny",
            "files": 1,
            "weights": False,
        }
        seen.append(digests.tree_digest(made.output("model")))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"model_type": "qwen2"}', '{"vocab_size": 2}', '{"a": 1, "a": 2}']
)
def test_an_architecture_must_be_one(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError):
        base.take_architecture(tmp_path / "a.json", tmp_path)


def test_a_hub_model_that_is_not_here_needs_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OfflineError, match="run this once with a network"):
        base._fetched("someone/some-model", "0" * 40, "params.yaml: bases.x.source")


CHECKPOINTS = [
    (["model_world_size_8_rank_0.pt", "fsdp_config.json", "huggingface"], "verl (FSDP)", "merge"),
    (["latest", "zero_to_fp32.py", "global_step100"], "DeepSpeed", "--safe_serialization"),
    (
        ["zero_pp_rank_0_mp_rank_00_optim_states.pt", "mp_rank_00_model_states.pt"],
        "DeepSpeed",
        "fp32",
    ),
    (["latest_checkpointed_iteration.txt", "iter_0000100"], "Megatron", "export_ckpt"),
    (["__0_0.distcp", "__1_0.distcp", ".metadata"], "FSDP", "accelerate merge-weights"),
    (["adapter_config.json", "adapter_model.safetensors"], "LoRA", "merge_and_unload"),
]


@pytest.mark.parametrize(("names", "found", "fix"), CHECKPOINTS, ids=lambda value: str(value)[:30])
def test_a_checkpoint_of_a_trainer_is_refused_with_the_way_to_a_model(
    names: list[str], found: str, fix: str, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"")
    with pytest.raises(InputError) as refused:
        take(folder, tmp_path)
    assert found in refused.value.found and fix in refused.value.fix


def test_a_model_beside_what_a_trainer_left_is_taken(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "latest_checkpointed_iteration.txt").write_text("100")
    assert "model.safetensors" in take(folder, tmp_path)


OWN = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize(
    ("own", "named", "given", "text"),
    [
        ("", None, "ours", chat_template()),
        ("", "mine.jinja", "mine.jinja", "[{{ messages[0].content }}]"),
        ("chat_template.jinja", None, "", OWN),
        ("chat_template.jinja", "mine.jinja", "mine.jinja", "[{{ messages[0].content }}]"),
        ("tokenizer_config.json", None, "", None),
    ],
)
def test_a_model_without_a_chat_template_gets_one(
    own: str, named: str | None, given: str, text: str | None, tmp_path: Path
) -> None:
    folder = model(tmp_path / "source")
    if own:
        settings = json.dumps({"chat_template": OWN})
        (folder / own).write_text(OWN if own.endswith("jinja") else settings)
    (tmp_path / "mine.jinja").write_text("[{{ messages[0].content }}]")
    row = Base(source="source", suite="s", chat_template=named)
    assert base.take(row, tmp_path, tmp_path / "made", "bases.b") == given
    made = tmp_path / "made" / "chat_template.jinja"
    assert (made.read_text() if made.exists() else None) == text


@pytest.mark.parametrize(
    ("template", "error"),
    [
        (b"{{ ''.__class__ }}", InputError),
        (b"\xff", ConfigError),
        (None, ConfigError),
    ],
)
def test_a_chat_template_that_is_not_safe_or_not_there_is_refused(
    template: bytes | None, error: type[CountersignError], tmp_path: Path
) -> None:
    model(tmp_path / "source")
    if template is not None:
        (tmp_path / "mine.jinja").write_bytes(template)
    row = Base(source="source", suite="s", chat_template="mine.jinja")
    with pytest.raises(error, match=r"mine\.jinja"):
        base.take(row, tmp_path, tmp_path / "made", "bases.b")
