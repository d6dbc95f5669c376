"""Groups of vendor libraries, in the order in which a pipeline uses them. One process imports a
group and is forked for each stage of its families.

A library that is not installed is left out. What is missing here costs time only; the families do
not declare it, because their code is part of what their results depend on.
"""

TABLES = ("pyarrow.parquet", "pyarrow.compute", "pandas", "jinja2")
"""What stages that read and write records need."""
DATA = (
    *TABLES,
    *("regex", "tldextract", "phonenumbers", "hyperscan", "presidio_analyzer", "spacy.lang.en"),
    "great_expectations",
)
"""What scans and quality checks need."""
MODELS = (
    *TABLES,
    *("torch", "transformers", "datasets", "peft", "accelerate", "trl.trainer.sft_trainer"),
    *("mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store"),
    "mlflow.store.model_registry.sqlalchemy_store",
)
"""What training and evaluation need."""
GROUPS = (TABLES, DATA, MODELS)
"""In the order in which a pipeline uses them."""
GROUP_OF = {
    "ingest": TABLES,
    "scan_pii": DATA,
    "check_quality": DATA,
    "evaluate_base": MODELS,
    "train": MODELS,
    "evaluate": MODELS,
}
"""Family of stages to its group; another family needs none."""
