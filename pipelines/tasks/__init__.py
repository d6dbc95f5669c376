"""Evaluation on local tasks of lm-evaluation-harness: `tasks/NAME/` of a project.

`definition` what a task may be, as typed data, and the digest of the suite that it is
`items`      the texts of its items, which must not be in training data
`scan`       searches its files for personal data
`scores`     runs it by the library, and takes its scores item by item
"""
