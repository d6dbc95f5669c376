"""Evaluation on local tasks of lm-evaluation-harness: `tasks/NAME/` of a project.

`definition` what a task may be, as typed data, and the digest of the suite that it is
`scores`     runs it by the library, and takes its scores item by item
"""
