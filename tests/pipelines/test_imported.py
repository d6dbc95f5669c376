"""A model folder that transformers wrote outside the project becomes `candidate` on the real
pipeline, and both verifiers accept its bundle.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from governance.base.yaml import read_yaml
from governance.bundle import standalone_verifier as verifier
from tests.project import Project, fresh, write_yaml

pytestmark = pytest.mark.slow
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def from_elsewhere(folder: Path, seed: int) -> None:
    """A tiny model with random weights, as transformers saves one."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    letters = {letter: at for at, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab={**letters, "<end>": len(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>", chat_template=TEMPLATE
    )
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(letters) + 1, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512,
        tie_word_embeddings=True, eos_token_id=len(letters), pad_token_id=len(letters),
        bos_token_id=len(letters),
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    whole.save_pretrained(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that trains nothing and releases a model of somebody else."""
    made = fresh(tmp_path_factory.mktemp("imported"))
    from_elsewhere(made.root / "from-acme", 1)

    def only_the_import(params: Any) -> None:
        for table in ("samples", "datasets"):
            params[table] = {"desk_eval": params[table]["desk_eval"]}
        params["bases"] = {"acme": {"source": "from-acme", "suite": "desk_eval"}}
        params["stages"] = {}
        params["releases"] = {"support-desk": {"stage": "acme"}}

    made.edit("params.yaml", only_the_import)
    made.commit("a model from Acme")
    return made


def _permit(policy: Any) -> None:
    policy["tiers"]["limited"]["imported"] = True


def _thresholds(policy: Any) -> None:
    bound = {"at_least": 0.0, "judge": "mean"}
    methods = policy["suites"]["desk_eval"]["methods"]
    methods["imported"] = {"thresholds": {"greedy_exact": bound}}


def _declare(declared: Any) -> None:
    """What Acme states; the data is one public set."""
    declared["trained_by"] = {"organisation": "Acme", "tool": "verl", "tool_version": "0.6.1"}
    declared["methods"] = ["sft", "grpo"]
    declared["parent"] = {"model": "none", "licence": "none"}
    declared["datasets"] = [
        {
            "name": "acme/tickets", "licence": "MIT", "lawful_basis": "no_personal_data",
            "personal_data": "absent", "classification": "public",
            "purposes": ["customer-support"], "regions": ["EU"], "sha256": "unknown",
        }
    ]  # fmt: skip


def test_it_is_refused_declared_registered_and_verified(project: Project, tmp_path: Path) -> None:
    refused = project.repro()
    assert refused.code != 0
    for code in ("BASE_NOT_ALLOWED", "IMPORT_NOT_ALLOWED", "IMPORT_NOT_DECLARED"):
        assert code in refused.out
    arguments = ("allow-base", "acme", "--licence", "Apache-2.0", "--declared-by", "cleo")
    written = project.countersign(*arguments)
    assert written.code == 0, written.out
    project.edit("policies/policy.yaml", _permit)
    project.edit("policies/evaluation.yaml", _thresholds)
    unknown = project.repro()
    assert unknown.code != 0 and "IMPORT_DATA_UNKNOWN" in unknown.out, unknown.out
    project.edit("policies/imports/acme.yaml", _declare)
    project.commit("declared")
    project.made()
    assert [(name, kept) for name, _, kept in project.said() if name == "registration"]
    shown = project.countersign("show", "support-desk/1")
    assert shown.code == 0 and "self-attested" in shown.out, shown.out
    bundle = tmp_path / "acme.bundle"
    done = project.countersign("bundle", "support-desk/1", "-o", str(bundle))
    assert done.code == 0, done.out
    origin = project.log.entry(0).leaf_hash.hex()
    assert verifier.main([str(bundle), "--origin", origin]) == 0
    checked = project.countersign("verify", str(bundle), "--origin", origin)
    assert checked.code == 0, checked.out
    for command in ("data", "lineage", "history", "live", "status", "fleet", "report"):
        about = {"history": ["support-desk"], "live": ["support-desk"]}
        named = about.get(command, [] if command in ("status", "fleet") else ["support-desk/1"])
        told = project.countersign(command, *named)
        assert told.code == 0, (command, told.out)
    again = project.countersign("reproduce", "acme")
    assert again.code != 0 and "not trained here" in again.out
    _another_folder_is_refused(project)


def _another_folder_is_refused(project: Project) -> None:
    """One changed weight is another model, which nobody declared."""
    shutil.rmtree(project.root / "from-acme")
    from_elsewhere(project.root / "from-acme", 2)
    refused = project.repro()
    assert refused.code != 0 and "IMPORT_NOT_DECLARED" in refused.out, refused.out
    assert "BASE_CHANGED" in refused.out


def test_the_declaration_is_plain_yaml(project: Project) -> None:
    path = project.root / "policies" / "imports" / "acme.yaml"
    before = read_yaml(path)
    write_yaml(path, before)
    assert read_yaml(path) == before
