"""Decisions: pure functions of policy, evidence and one reference time.

`decisions`    which checks make up each decision
`checks`       the checks, one function each
`assessment`   compares scores with thresholds
`behaviour`    judges how a model behaves on held-out prompts
`leaks`        judges what a model gives away of its training data
`ranking`      judges how a reward model ranks the pairs of its suite
`judging`      whether a judge has passed a check of its own
`recall`       how many planted values a scan finds
`records`      which records a training used, and what share policy permits to lose
"""
