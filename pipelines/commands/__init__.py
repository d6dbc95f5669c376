"""The commands that need the pipeline. The other commands are in governance.commands."""
