"""Changed policies, put in force by the owners' keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from governance.attest.predicates import Artifact, PolicyChange
from governance.log import evidence
from governance.log.port import Log
from governance.policy.policies import files_digest
from tests.governance.governed import Governed, person


def without_witnesses(scene: Governed) -> dict[str, str]:
    """The policies, which ask for no witness."""
    files = dict(scene.story.policies.files)
    text = files["policy.yaml"].replace("    witnesses: 2\n", "")
    files["policy.yaml"] = text[: text.index("witnesses:\n  - ")]
    return files


def with_one_witness(scene: Governed, url: str, key: str) -> dict[str, str]:
    """The policies, which name another witness."""
    files = without_witnesses(scene)
    text = re.sub(r"    approvers: ", "    witnesses: 1\n    approvers: ", files["policy.yaml"])
    row = f"  - {{name: {key.partition('+')[0]}, key: '{key}', url: '{url}'}}\n"
    files["policy.yaml"] = f"{text}witnesses:\n{row}"
    return files


def propose(scene: Governed, log: Log, files: Mapping[str, str]) -> str:
    """Records policies, which nobody has signed; their digest."""
    change = PolicyChange(
        previous=scene.story.policies.digest, run=scene.story.run(), files=dict(files)
    )
    digest = files_digest(files)
    subject = Artifact(role="policy", name="policies", sha256=digest)
    evidence.record(log, person("ada"), "policy", [subject], change)
    return digest


def put_in_force(scene: Governed, log: Log, files: Mapping[str, str]) -> None:
    """Records policies, which both owners sign."""
    there = replace(scene, story=replace(scene.story, log=log))
    digest = propose(scene, log, files)
    for who in ("ada", "ben"):
        there.approve(who, "policy-owner", digest, "policy")
