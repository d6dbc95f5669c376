"""`countersign allow-base`: what it writes, what it leaves alone, and what it will not look at."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from governance.base.errors import ConfigError, InputError, VerificationError
from governance.base.progress import Progress
from governance.base.yaml import read_yaml
from governance.log.evidence import key_ring
from governance.log.views import log_evidence
from governance.machine.machine import open_log
from governance.policy.policies import load_policies
from pipelines import lock
from pipelines.commands import allow_base
from pipelines.harness import run_stage
from pipelines.job import Job, Outcome
from pipelines.project import open_project
from pipelines.stages import import_base as base
from tests.kept import share
from tests.pipelines.jobs import NOW

ROOT = Path(__file__).parents[3]
WEIGHTS = struct.pack("<Q", 2) + b"{}"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project without any base allowed."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(ROOT / "policies", folder / "policies")
    shutil.copy(ROOT / "pipelines" / "architectures" / "tiny.json", folder / "own.json")
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(
        params.replace("builtin:tiny", "own.json"), encoding="utf-8"
    )
    (folder / allow_base.FILE).write_text(
        "# what may be built upon\nbases: {}  # none yet\n", encoding="utf-8"
    )
    lock.write(folder)
    share(tmp_path / "home")
    monkeypatch.chdir(folder)
    return folder


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(allow_base.command, arguments, catch_exceptions=False)


def _folder(root: Path, **files: bytes) -> None:
    """Makes the base `tiny` a local folder with these files."""
    folder = root / "local"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "qwen2", "vocab_size": 8}), encoding="utf-8"
    )
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    params = root / "params.yaml"
    params.write_text(
        params.read_text(encoding="utf-8").replace("own.json", "local"),
        encoding="utf-8",
    )


@pytest.mark.slow
def test_it_writes_the_digest_that_the_import_makes(root: Path) -> None:
    result = _run("tiny", "--licence", "Apache-2.0")
    assert result.exit_code == 0 and "an architecture without weights" in result.output
    allowed = load_policies(root / "policies").bases["tiny"]
    again = json.loads(_run("tiny", "--licence", "Apache-2.0", "--json").output)
    assert (again["digest"], again["files"], again["changed"]) == (
        allowed.digest,
        ["config.json"],
        False,
    )
    assert (allowed.weights, allowed.licence) == (False, "Apache-2.0")
    project = open_project(
        root, {"COUNTERSIGN_HOME": str(root.parent / "home"), "COUNTERSIGN_REQUESTER": "ada"}
    )
    from governance.attest.digests import tree_digest

    run_stage("import_base", "tiny", project, lambda: NOW, Progress())
    assert tree_digest(root / "models" / "tiny" / "model") == allowed.digest


def test_a_source_that_changes_while_it_is_imported_is_neither_published_nor_recorded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = open_project(
        root, {"COUNTERSIGN_HOME": str(root.parent / "home"), "COUNTERSIGN_REQUESTER": "ada"}
    )
    source, real = root / project.params.bases["tiny"].source, base.run

    def edited(job: Job) -> Outcome:
        source.write_bytes(source.read_bytes() + b" ")
        return real(job)

    monkeypatch.setattr(base, "FAMILY", replace(base.FAMILY, run=edited))
    with pytest.raises(VerificationError, match="changed while it was being used"):
        run_stage("import_base", "tiny", project, lambda: NOW, Progress())
    assert not (root / "models/tiny/model").exists()
    log = open_log(project.machine, project.policies, lambda: NOW)
    assert not list(log_evidence(log, key_ring(log, project.policies.keys)).all("base"))


def test_comments_and_other_entries_stay(root: Path) -> None:
    text = (
        "# what may be built upon\nbases:\n  # reviewed by the board\n  other: {digest: " + "a" * 64
        + ", weights: true, source: 'x', licence: MIT} # keep\n  # the last word\n"
    )  # fmt: skip
    (root / allow_base.FILE).write_text(text, encoding="utf-8")
    _run("tiny", "--licence", "Apache-2.0")
    made = (root / allow_base.FILE).read_text(encoding="utf-8")
    for line in text.splitlines():
        assert line in made
    assert set(read_yaml(root / allow_base.FILE)["bases"]) == {"other", "tiny"}


def test_saying_it_again_changes_nothing(root: Path) -> None:
    _run("tiny", "--licence", "Apache-2.0")
    before = (root / allow_base.FILE).read_bytes()
    assert "unchanged" in _run("tiny", "--licence", "Apache-2.0").output
    assert (root / allow_base.FILE).read_bytes() == before
    assert "replaced" in _run("tiny", "--licence", "MIT").output


def test_another_architecture_is_another_digest(root: Path) -> None:
    _run("tiny", "--licence", "Apache-2.0")
    before = load_policies(root / "policies").bases["tiny"].digest
    path = root / "own.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            '"num_hidden_layers": 2', '"num_hidden_layers": 3'
        ),
        encoding="utf-8",
    )
    _run("tiny", "--licence", "Apache-2.0")
    assert load_policies(root / "policies").bases["tiny"].digest != before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"pytorch_model__bin": b"\x80\x04"}, "can run code"),
        ({"model__safetensors": WEIGHTS, "modeling_own__py": b"import os"}, "the model has code"),
        (
            {
                "model__safetensors": WEIGHTS,
                "config__json": b'{"model_type": "x", "auto_map": {"A": "m.A"}}',
            },
            "auto_map",
        ),
        ({}, r"no \*\.safetensors"),
    ],
)
def test_it_refuses_what_can_run(root: Path, files: dict[str, bytes], said: str) -> None:
    _folder(root, **files)
    before = (root / allow_base.FILE).read_bytes()
    with pytest.raises(InputError, match=said):
        _run("tiny", "--licence", "Apache-2.0")
    assert (root / allow_base.FILE).read_bytes() == before


def test_what_is_not_known_is_told_with_what_is(root: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        _run("tinny", "--licence", "Apache-2.0")
    with pytest.raises(ConfigError, match=r"licences\.bases"):
        _run("tiny", "--licence", "GPL-3.0-only")
    (root / "own.json").unlink()
    with pytest.raises(InputError, match="there is no"):
        _run("tiny", "--licence", "Apache-2.0")
    assert _run("tiny").exit_code == 2


WHOLE = (
    struct.pack("<Q", 56) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  ' + bytes(4)
)


@pytest.mark.slow
def test_it_writes_a_declaration_to_fill_in(root: Path) -> None:
    _folder(root, model__safetensors=WHOLE)
    result = _run("tiny", "--licence", "Apache-2.0", "--declared-by", "cleo")
    assert result.exit_code == 0 and "policies/imports/tiny.yaml" in result.output
    policies = load_policies(root / "policies")
    declared = policies.imports["tiny"]
    assert policies.declaration_of(policies.bases["tiny"].digest) == ("tiny", declared)
    assert (declared.declared_by, declared.datasets, declared.methods) == (
        "cleo", "unknown", "unknown"
    )  # fmt: skip
    filled = root / allow_base.DECLARATIONS / "tiny.yaml"
    filled.write_text(filled.read_text().replace("methods: unknown", "methods: [sft, dpo]"))
    assert _run("tiny", "--licence", "Apache-2.0", "--declared-by", "cleo").exit_code == 0
    assert load_policies(root / "policies").imports["tiny"].method_names == "sft, dpo"


@pytest.mark.slow
def test_a_declaration_of_other_bytes_stays_and_nothing_is_allowed(root: Path) -> None:
    _folder(root, model__safetensors=WHOLE)
    assert _run("tiny", "--licence", "Apache-2.0", "--declared-by", "cleo").exit_code == 0
    before = (root / allow_base.FILE).read_text(), load_policies(root / "policies").digest
    (root / "local" / "model.safetensors").write_bytes(WHOLE[:-1] + b"\1")
    with pytest.raises(ConfigError, match="other bytes"):
        _run("tiny", "--licence", "Apache-2.0", "--declared-by", "cleo")
    assert ((root / allow_base.FILE).read_text(), load_policies(root / "policies").digest) == before


@pytest.mark.slow
def test_an_architecture_has_no_declaration(root: Path) -> None:
    with pytest.raises(InputError, match="nobody has trained it"):
        _run("tiny", "--licence", "Apache-2.0", "--declared-by", "cleo")
    with pytest.raises(ConfigError, match="no name of a person"):
        _run("tiny", "--licence", "Apache-2.0", "--declared-by", "Cleo Smith")


def test_it_shows_what_a_model_holds(root: Path) -> None:
    header = b'{"model.embed.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    weights = struct.pack("<Q", len(header)) + header + bytes(4)
    settings = json.dumps({"tokenizer_class": "Qwen2Tokenizer"}).encode()
    _folder(root, model__safetensors=weights, tokenizer_config__json=settings)
    shown = _run("tiny", "--licence", "Apache-2.0").output
    assert "safetensors, F32" in shown and "Qwen2Tokenizer" in shown
    assert "chat template  ours" in shown
    stated = json.loads(_run("tiny", "--licence", "Apache-2.0", "--json").output)
    assert (stated["types"], stated["chat_template"]) == (["F32"], "ours")
    assert stated["bytes"] > len(weights)
