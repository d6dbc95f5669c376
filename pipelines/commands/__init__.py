"""The commands that need the pipeline; the others stand in governance.commands."""
