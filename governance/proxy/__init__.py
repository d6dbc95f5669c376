"""Verified serving: a thin proxy in front of inference servers that other projects make.

`permission` which versions may be served now: a pure function of the log, policy and time
`facts`      what the log says of an alias
`following`  reads the log again and again
`choice`     which permitted version answers a caller
`servers`    starts an inference server on a private copy, and stops it
`fleet`      the running servers: switches between them and loses no request
`connections` to the servers, used again while idle
`app`        the OpenAI API: passes requests on, names version and digest, reports health
`answers`    what an answer says of itself: tokens, length, refusal
`tally`      what requests add up to
`windows`    sums over time, which survive a kill
`observing`  sums, windows and users' ratings together
`recording`  signs closed windows and appends them to the log
`metrics`    the sums for Prometheus
`run`        puts these together
"""
