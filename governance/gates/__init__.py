"""Decisions: pure functions of policy, evidence and one reference time.

`decisions`    which checks make up each decision
`checks`       the checks, one function each
`assessment`   scores held against thresholds
`recall`       what a scan finds of planted values
"""
