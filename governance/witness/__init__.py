"""Witnesses: somebody outside the operator of a log cosigns its checkpoints.

`book`      what a witness remembers of each log, and what it signs; evidence of a split view
`service`   the book over HTTP, as https://c2sp.org/tlog-witness describes it
`compare`   two copies of a log: do they agree?
`client`    the log's side: asks a witness, and keeps its cosignature beside the log
"""
