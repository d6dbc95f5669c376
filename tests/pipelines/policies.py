"""Small policies for tests of the data gates."""

from __future__ import annotations

from typing import Any

from governance.policy.data import PiiPolicy, QualitySuite
from tests.conftest import ROOT


def pii(**more: Any) -> PiiPolicy:
    """Everything that is found is redacted, unless said otherwise."""
    return PiiPolicy.model_validate({"default": {"action": "redact"}, **more})


def shipped_pii() -> PiiPolicy:
    """policies/pii.yaml."""
    from governance.base.yaml import load_model

    return load_model(ROOT / "policies" / "pii.yaml", PiiPolicy)


def shipped_suite(name: str) -> QualitySuite:
    """policies/quality/NAME.yaml."""
    from governance.base.yaml import load_model

    return load_model(ROOT / "policies" / "quality" / f"{name}.yaml", QualitySuite)


CLOSED = """
readers:
  datasets: {desk_sft: [], "*": [everybody]}
  models: {"*": [everybody]}
"""
"""A part of policies/policy.yaml: nobody may read one dataset."""
