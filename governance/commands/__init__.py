"""The commands of governance, one module for each family; `pipelines.cli` has the table."""
