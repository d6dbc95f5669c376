"""Erasing records on request: docs/erasure.md.

sought      what is looked for in files: ids, texts, values
places      every file of the project, DVC's cache and this machine's state that may hold them
remotes     DVC's remotes
removal     deletes files; takes rows out of sources
case        one erasure from what was asked to its certificate, and its journal
certificate what was removed and what was not, for the person's file
"""
