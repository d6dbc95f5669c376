"""One file makes a new kind of evidence: log, carrying, schemas and policy derive the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from governance.attest.predicates import KINDS, PREDICATES, Origin, evidence_kind
from tests.conftest import ROOT

PROBE = '''

@evidence_kind("probe", scope="probe/{predicate.probed}", not_copied=True, granted=True)
class Probe(Predicate):
    """Somebody probed the model."""

    probed: str
'''
USE = """
import sys
from pathlib import Path
from governance.attest.predicates import Probe
from governance.exports.publish import STATEMENTS, statement_schemas
from governance.log import evidence
from governance.log.views import log_evidence
from governance.log.carry import NOT_COPIED
from governance.people.enrolment import OPTIONAL
from governance.policy.rules import RIGHTS
from governance.policy.policies import Principal
from tests.governance.examples import A, artifact, ingest, scene

here = scene(Path(sys.argv[1]))
probe = Probe(**{**ingest("ingest@x").model_dump(exclude={"dataset", "kind", "record_key",
    "fields_unused", "counts"}), "probed": "grpo"})
here.record("probe", probe, artifact("model", A))
(entry,) = here.log.by_kind(["probe"])
assert entry.scope == "probe/grpo"
view = log_evidence(here.log, evidence.key_ring(here.log, {}))
(item,) = view.by_subject(A, "probe")
assert item.predicate.model_copy(update={"log": None}) == probe
assert "probe" in NOT_COPIED and "probe" in RIGHTS and "probe" not in OPTIONAL
assert STATEMENTS / "probe.v1.json" in statement_schemas()
key = here.signer.public_pem
assert Principal.model_validate({"name": "ci", "kind": "service", "signs": ["probe"],
                                 "keys": [key]}).signs == ["probe"]
print("probed")
"""


def test_a_kind_of_evidence_is_one_class_in_one_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "governance", tmp_path / "governance")
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("golden"))
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    predicates = tmp_path / "governance" / "attest" / "predicates"
    with (predicates / "training.py").open("a", encoding="utf-8") as file:
        file.write(PROBE)
    (tmp_path / "use.py").write_text(USE)
    done = subprocess.run(
        [sys.executable, "use.py", str(tmp_path / "home")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "probed\n"), done.stderr


def test_two_kinds_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="origin"):
        evidence_kind("origin")(Origin)
    assert KINDS["origin"].model is Origin
    assert PREDICATES[KINDS["origin"].uri] is Origin


NOT_COPIED_KINDS = {
    "origin", "policy", "rules", "registration", "promotion", "packet", "request", "revocation",
    "checkpoint_key", "refusal", "report", "call", "cosigned", "judgement",
    "read", "results", "erasure", "erased",
    "rollout", "rollout_step", "rollout_window", "rollout_reaction", "monitoring",
}  # fmt: skip
GRANTED = {
    "ingest", "scan", "quality", "base", "gate", "train", "evaluate", "registration", "promotion",
    "reproduction", "seed_run", "drill", "results", "generation", "judge_card", "leak_probe",
    "rollout_window", "rollout_reaction",
    "monitoring",
}  # fmt: skip
SCOPES = {
    "origin": "origin",
    "policy": "policy",
    "rules": "rules",
    "gate": "gate/{predicate.stage}",
    "generation": "generation/{predicate.stage}",
    "judge_card": "judge_card/{predicate.judge}",
    "registration": "registration/{predicate.model}/{predicate.stage}",
    "promotion": "promotion/{predicate.model}/{predicate.alias}",
    "cosigned": "cosigned",
    "packet": "packet/{predicate.model}/{predicate.version}",
    "refusal": "refusal/{predicate.model}/{predicate.operation}/{predicate.caller}",
    "call": "call/{predicate.model}/{predicate.alias}",
}


def test_where_each_kind_counts_and_who_may_sign_it() -> None:
    """Scopes stand in every log: another scope makes another log of the same statements."""
    assert {name for name, kind in KINDS.items() if kind.not_copied} == NOT_COPIED_KINDS
    assert {name for name, kind in KINDS.items() if kind.granted} == GRANTED
    assert {name for name, kind in KINDS.items() if kind.optional_for_release} == {
        "reproduction",
        "seed_run",
        "drill",
        "results",
        "generation",
        "judge_card",
        "leak_probe",
        "rollout_window",
        "rollout_reaction",
        "monitoring",
    }
    assert {name: kind.scope for name, kind in KINDS.items() if kind.scope} == SCOPES
