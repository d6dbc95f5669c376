"""policies/: every mistake told at once with file, line and field; nothing permissive by
default.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from governance.attest.digests import tree_digest
from governance.base.errors import ConfigError, Problems
from governance.exports import publish
from governance.machine.signers import stored_signer
from governance.policy.policies import (
    FILES,
    Policies,
    load_policies,
    policies_of,
    policy_files,
)
from governance.policy.rules import Datacard
from pipelines.metrics import METRICS
from pipelines.params import load_params
from pipelines.stages import import_base as base
from pipelines.training import reward_files
from pipelines.training.methods import METHODS
from pipelines.training.rewards import SCORER
from tests.governance.keys import EARLIER, text_of

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped policies."""
    return Path(shutil.copytree(ROOT / "policies", tmp_path / "policies"))


@pytest.fixture(scope="module")
def shipped() -> Policies:
    return load_policies(ROOT / "policies")


def _edit(folder: Path, name: str, old: str, new: str) -> int:
    """Replaces text that stands there once; the line it stands on."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


MISTAKES = [
    # file, text, replacement, what is said
    (
        "policy.yaml",
        "tier: limited\n",
        "tire: limited\n",
        r"unknown field\n.*did you mean 'tier'\?",
    ),
    (
        "policy.yaml",
        "tier: limited\n",
        "tier: limitted\n",
        r"models.support-desk.tier: 'limitted' is no tier; did you mean 'limited'\?",
    ),
    ("policy.yaml", "region: EU\n", "region: Europe\n", r"region: 'Europe'"),
    (
        "policy.yaml",
        "development_keys: candidate",
        "development_keys: always",
        r"development_keys: 'always'",
    ),
    (
        "policy.yaml",
        "principals: []",
        "principals: [{name: ci, kind: service, keys: [nonsense]}]",
        r"not a public key",
    ),
    ("policy.yaml", "bases: [Apache-2.0, MIT]", "bases: []", r"licences.bases"),
    (
        "policy.yaml",
        "  limited:\n    promotable: true\n    approvals: 2",
        "  limited:\n    promotable: true\n    approvals: -1",
        r"tiers.limited.approvals",
    ),
    ("evaluation.yaml", "confidence: 0.95", "confidence: 95", r"confidence: '95'"),
    (
        "evaluation.yaml",
        "pair_accuracy: {at_least: 0.8}",
        "pair_accuracy: {at_least: 0.8, at_most: 1}",
        r"either at_least or at_most",
    ),
    (
        "evaluation.yaml",
        "none: untrained starting point; nothing to test",
        "none: todo",
        r"methods.base.none: 'todo'",
    ),
    (
        "evaluation.yaml",
        "pair_accuracy: {at_least: 0.8}",
        "pair_accuracy: {at_lest: 0.8}",
        r"at_lest",
    ),
    ("bases.yaml", "licence: Apache-2.0", "license: Apache-2.0", r"did you mean 'licence'\?"),
    ("bases.yaml", "weights: false", "weights: maybe", r"bases.tiny.weights"),
    (
        "datacards/desk_sft.yaml",
        "classification: public",
        "classification: pubic",
        r"classification: 'pubic'",
    ),
    ("datacards/desk_sft.yaml", "until: 2035-12-31", "until: never", r"retention.until: 'never'"),
    (
        "datacards/desk_sft.yaml",
        "suite: conversation",
        "suite: conversations",
        r"no quality suite 'conversations'",
    ),
    (
        "datacards/desk_sft.yaml",
        "regions: [anywhere]",
        "regions: [everywhere]",
        r"regions.0: 'everywhere'",
    ),
    # A number of people is written as one: nobody signs `false` and means 0.
    *(
        (
            "policy.yaml",
            "  limited:\n    promotable: true\n    approvals: 2",
            f"  limited:\n    promotable: true\n    approvals: {value}",
            r"tiers.limited.approvals: .*valid integer",
        )
        for value in ("false", "0.0", "'0'", "yes")
    ),
]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    MISTAKES,
    ids=[f"{row[0]}-{row[2][:24]}-{at}" for at, row in enumerate(MISTAKES)],
)
def test_a_mistake_is_told_with_its_place(
    folder: Path, name: str, old: str, new: str, said: str
) -> None:
    line = _edit(folder, name, old, new)
    with pytest.raises(Problems) as caught:
        load_policies(folder)
    text = str(caught.value)
    assert re.search(said, text), text
    found = {int(number) for number in re.findall(rf"{re.escape(name)}:(\d+)", text)}
    assert found & {line, line + 2}, text


def test_mistakes_of_all_files_are_told_at_once(folder: Path) -> None:
    for name, old, new, _ in (MISTAKES[0], MISTAKES[7], MISTAKES[11], MISTAKES[13]):
        _edit(folder, name, old, new)
    (folder / "quality" / "broken.yaml").write_text("kind: [\n", encoding="utf-8")
    with pytest.raises(Problems) as caught:
        load_policies(folder)
    told = str(caught.value)
    for name in (
        "policy.yaml:",
        "evaluation.yaml:",
        "bases.yaml:",
        "desk_sft.yaml:",
        "broken.yaml:",
    ):
        assert name in told


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_an_error(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(Problems, match=f"{name}: no such file"):
        load_policies(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_empty_file_is_an_error(folder: Path, name: str) -> None:
    (folder / name).write_text("", encoding="utf-8")
    with pytest.raises(Problems, match=re.escape(name)):
        load_policies(folder)


def test_a_metric_is_bound_to_its_function_as_the_page_says(folder: Path) -> None:
    page = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"`(sources: \{.+?: )SHA256\}`", page)
    _edit(folder, "evaluation.yaml", "  desk_eval:\n", f"  desk_eval:\n    {shown}{'a' * 64}}}\n")
    suite = load_policies(folder).evaluation.suites["desk_eval"]
    assert suite.sources == {"sampled:brevity": "a" * 64}


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Problems):
        load_policies(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        load_policies(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["policy.yaml", "datacards", "quality/text.yaml"])
def test_a_link_is_an_error(folder: Path, name: str) -> None:
    """What a link to a folder leads to would be read, and stand in no digest that people sign."""
    (folder / name).rename(folder.parent / "elsewhere")
    (folder / name).symlink_to(folder.parent / "elsewhere")
    with pytest.raises(Problems, match=rf"{re.escape(name)}: a symbolic link"):
        load_policies(folder)


@pytest.mark.parametrize(
    "name", ["datacards/désk.yaml", "datacards/Desk.yaml", "datacards/x.YAML", "quality/a b.yaml"]
)
def test_a_name_that_the_log_would_not_carry_is_an_error(folder: Path, name: str) -> None:
    (folder / name).write_text("title: x\n", encoding="utf-8")
    with pytest.raises(Problems, match="no policy is read from this file"):
        load_policies(folder)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("evaluations.yaml", "evaluation.yaml"),
        ("datacard/x.yaml", "datacards/NAME.yaml"),
        ("policy.yml", "policy.yaml"),
    ],
)
def test_a_file_that_nothing_reads_is_an_error(folder: Path, name: str, meant: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(Problems, match=rf"did you mean '{re.escape(meant)}'"):
        load_policies(folder)


def test_the_digest_covers_every_byte_people_sign(folder: Path, shipped: Policies) -> None:
    assert load_policies(folder).digest == shipped.digest
    (folder / "notes.txt").write_text("not a policy", encoding="utf-8")
    assert load_policies(folder).digest == shipped.digest
    card = folder / "datacards" / "desk_sft.yaml"
    card.write_text(card.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")
    with_remark = load_policies(folder)
    assert with_remark.digest != shipped.digest
    assert with_remark.pii_digest == shipped.pii_digest


def test_a_suite_and_the_pii_policy_have_digests_of_what_they_say(
    folder: Path, shipped: Policies
) -> None:
    pii = folder / "pii.yaml"
    pii.write_text("# another remark\n" + pii.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_policies(folder).pii_digest == shipped.pii_digest
    _edit(folder, "pii.yaml", "threshold: 0.35", "threshold: 0.4")
    assert load_policies(folder).pii_digest != shipped.pii_digest
    assert load_policies(folder).suite_digest("prompt") == shipped.suite_digest("prompt")
    assert len({shipped.suite_digest(name) for name in shipped.quality}) == len(shipped.quality)
    with pytest.raises(ConfigError, match="did you mean 'prompt'"):
        shipped.suite_digest("promt")


def test_who_may_sign_what(folder: Path, tmp_path: Path) -> None:
    key = stored_signer(tmp_path / "keys", "development")
    pem = "".join(f"\n      {line}" for line in key.public_pem.splitlines())
    principal = (
        "principals:\n  - name: runner\n    kind: service\n    signs: [train]\n    keys:\n    -"
        f" |{pem}\n"
    )
    _edit(folder, "policy.yaml", "principals: []", principal)
    policies = load_policies(folder)
    assert policies.keys == {key.keyid: key.public_pem}
    assert policies.may_sign("train", key.keyid, development=False, index=1)
    assert not policies.may_sign("gate", key.keyid, development=False, index=1)
    assert not policies.may_sign("train", "0" * 64, development=False, index=1)
    assert policies.may_sign("gate", "0" * 64, development=True, index=1)


def test_one_key_under_two_names_is_an_error(folder: Path, tmp_path: Path) -> None:
    key = json.dumps(stored_signer(tmp_path / "keys", "development").public_pem)
    people = ", ".join(f"{{name: {name}, kind: person, keys: [{key}]}}" for name in ("ada", "eve"))
    _edit(folder, "policy.yaml", "principals: []", f"principals: [{people}]")
    with pytest.raises(Problems, match="named twice"):
        load_policies(folder)


@pytest.mark.parametrize("kind", EARLIER)
def test_kinds_of_keys_that_only_earlier_policies_have(folder: Path, kind: str) -> None:
    """An old log is read as before; nobody can propose or use such policies again."""
    key = json.dumps(text_of(EARLIER[kind]))
    people = f"principals: [{{name: ada, kind: person, keys: [{key}]}}]"
    line = _edit(folder, "policy.yaml", "principals: []", people)
    with pytest.raises(Problems, match=rf"policy.yaml:{line}:.*a key of kind"):
        load_policies(folder)
    files = policy_files(folder)
    with pytest.raises(Problems, match="a key of kind"):
        policies_of(files)
    assert len(policies_of(files, strict=False).keys) == 1


def test_a_datacard_names_its_blanks() -> None:
    assert Datacard().blanks() == [
        "title",
        "steward",
        "origin",
        "licence",
        "lawful_basis",
        "purposes",
        "regions",
        "classification",
        "retention.until",
        "retention.then",
        "labelling",
        "suite",
    ]
    with pytest.raises(ValidationError):
        Datacard.model_validate({"classification": "secret"})


# -- the shipped policies --------------------------------------------------------------------------


def test_every_dataset_of_params_has_a_complete_card(shipped: Policies) -> None:
    params = load_params(ROOT)
    assert {name: shipped.datacards[name].blanks() for name in params.datasets} == {
        name: [] for name in params.datasets
    }


def test_every_stage_and_base_of_params_has_its_demands(shipped: Policies) -> None:
    params = load_params(ROOT)
    models = {name: (stage.suite, stage.method) for name, stage in params.stages.items()}
    models |= {name: (row.suite, "base") for name, row in params.bases.items()}
    for name, (suite, method) in models.items():
        demands = shipped.evaluation.suites[suite].methods[method]
        assert set(demands.thresholds) <= set(params.suites[suite].metrics), name
    assert all(shipped.tier_of(model) is not None for model in params.releases)


def test_policies_name_only_what_exists(shipped: Policies) -> None:
    assert set(shipped.rules.rewards or []) <= {*reward_files.shipped(), SCORER}
    for suite in shipped.evaluation.suites.values():
        assert set(suite.methods) <= {*METHODS, "base"}
        for demands in suite.methods.values():
            assert {*demands.thresholds, *(item.metric for item in demands.compare)} <= set(METRICS)


def test_the_default_bases_are_those_reviewed(shipped: Policies) -> None:
    """After changing an architecture: countersign allow-base NAME --licence SPDX-ID"""
    for name, row in load_params(ROOT).bases.items():
        with tempfile.TemporaryDirectory() as folder:
            base.take(row, ROOT, Path(folder) / "model", name)
            assert shipped.bases[name].digest == tree_digest(Path(folder) / "model")
        assert shipped.bases[name].source == row.source


def test_every_policy_file_names_its_schema_and_the_schema_is_there() -> None:
    published = {(ROOT / name).resolve() for name in publish.documents()}
    for path in sorted((ROOT / "policies").rglob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
        assert named, f"{path}: {first}"
        assert (path.parent / named[1]).resolve() in published


def test_what_is_generated_is_current() -> None:
    """Otherwise: python -m governance.exports.publish"""
    for path, text in publish.documents().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, path
