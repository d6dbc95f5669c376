"""Reads source files of many shapes into records."""
