"""What decides the findings, without loading what finds them: `PlainEngine.digest` needs Presidio's
recognizers, whose loading takes over a second.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from governance.attest import canonical, digests
from governance.policy.data import PiiPolicy
from pipelines.pii import engine, ner

OF_POLICY = {
    *("languages", "detect_languages", "ner", "threshold", "recognizer_thresholds"),
    *("recognizers", "enabled_recognizers", "disabled_recognizers", "phone_regions"),
}
"""The fields of policy that decide which findings there are, beside thresholds of entities."""


def inputs_digest(policy: PiiPolicy, root: Path) -> str:
    """sha256 over the settings, code, package versions and files from which the engine is built.
    Equal inputs build engines of equal digest; different ones may, too.

    Raises `ConfigError` where the model that policy names is missing.
    """
    here = Path(engine.__file__).parent
    model = ner.file_of(policy, ner.model_folder(policy.ner, root))
    content = {
        "policy": policy.model_dump(mode="json", include=OF_POLICY),
        "thresholds": {name: each.threshold for name, each in policy.entities.items()},
        "default": policy.default.threshold,
        "sources": [digests.sha256_file(here / name) for name in engine.SOURCES],
        "versions": {name: importlib.metadata.version(name) for name in engine.engines(policy)},
        "ner": digests.digest_of(model),
    }
    return digests.sha256_bytes(canonical.dumps(content))
