"""Groups of libraries, vendors' and our modules that import those, in the order in which a pipeline
uses them. One process imports a group and is forked for each stage of its families.

A library that is not installed is left out. What is missing here costs time only; the families do
not declare it, because their code is part of what their results depend on.
"""

from __future__ import annotations

from pathlib import Path

from governance.policy.data import PiiPolicy
from pipelines.optional import OF_EXPECTATIONS, OF_TRAINING
from pipelines.pii.engine import PlainEngine
from pipelines.pii.language import load_identifier
from pipelines.pii.presidio import load_tokenizers, unused
from pipelines.pii.seeds import seeds

TABLES = (
    *("pyarrow.parquet", "pyarrow.compute", "pandas", "jinja2"),
    "pipelines.sources.ingest",
)
"""What stages that read and write records need."""
OF_SCANS = (
    *("regex", "tldextract", "phonenumbers", "hyperscan", "presidio_analyzer", "spacy.lang.en"),
)
SCANS = (*TABLES, *OF_SCANS, "pipelines.pii.scan")
"""What scans need."""
CHECKS = (*TABLES, "great_expectations", "pipelines.quality")
"""What quality checks need."""
OF_TRAININGS = ("transformers", "peft", "accelerate", "trl.trainer.sft_trainer")
MODELS = (
    *TABLES,
    *("torch", "datasets", *OF_TRAININGS),
    *("mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store"),
    *("mlflow.store.model_registry.sqlalchemy_store", "pipelines.training.fit"),
)
"""What training and evaluation need."""
GROUPS = (TABLES, SCANS, CHECKS, MODELS)
"""In the order in which a pipeline uses them."""
GROUP_OF = {
    "ingest": TABLES,
    "scan_pii": SCANS,
    "scan_task": SCANS,
    "check_quality": CHECKS,
    "evaluate_base": MODELS,
    "train": MODELS,
    "evaluate": MODELS,
    "evaluate_further": MODELS,
    "evaluate_task": MODELS,
    "evaluate_judged": MODELS,
    "probe_leaks": MODELS,
}
"""Family of stages to its group; another family needs none."""
AFTER = {"register": MODELS, "report": MODELS}
"""Family that uses a library of a group, MLflow, only after a training. Its stages use the group's
process if there is one, and start none.
"""


def without(name: str, policy: PiiPolicy | None) -> tuple[str, ...]:
    """Optional packages that a stage hides from a library when it imports it."""
    if name == "great_expectations":
        return OF_EXPECTATIONS
    if name in OF_TRAININGS:
        return OF_TRAINING
    return unused(policy) if policy and name in OF_SCANS else ()


def prepare_scans(policy: PiiPolicy, root: Path) -> None:
    """Searches the texts with which scans measure recall, so that the libraries compile the
    patterns of all recognizers and keep them by content, and loads the tokenizers and the model
    that tells languages. Does nothing where policy names a model: it would start threads. Raises
    `CountersignError`, which a scan says.
    """
    if policy.ner in ("name-list", "tagger"):
        engine = PlainEngine(policy, root)
        load_tokenizers(policy.known_languages)
        if len(policy.known_languages) > 1:
            load_identifier()
        planted = {seed.sentence: seed.text for seed in seeds(policy, engine.entities)}
        engine.find("\n".join(planted.values()))
