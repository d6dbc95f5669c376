"""The commands of governance, one module each; `pipelines.cli` has the table."""
