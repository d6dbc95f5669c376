"""The stages of the pipeline: one module per family, named like the family in dvc.yaml."""
