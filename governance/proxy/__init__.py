"""Verified serving: a thin proxy in front of inference servers that other projects make.

`permission` which versions may be served now: a pure function of the log, policy and time
`facts`      what the log says of an alias
`against`    what is against serving certain bytes
`canary`     the new version of a rollout: its share, and what is against it
`following`  reads the log again and again
`choice`     which permitted version answers a caller, and who that is
`shadow`     copies of requests for the new version of a shadow rollout
`split_key`  the secret by which a rollout splits callers
`servers`    starts a program that is an inference server, and stops it
`launching`  the server of a version: on a verified private copy, or one that others run
`fleet`      the running servers: switches between them and loses no request
`connections` to the servers, used again while idle
`app`        the OpenAI API: passes requests on, names version and digest, reports health
`answers`    what an answer says of itself: tokens, length, refusal
`tally`      what requests add up to
`windows`    sums over time, which survive a kill
`arms`       what is observed of both versions of a rollout
`rolling`    windows of rollouts
`observing`  sums, windows and users' ratings together
`searching`  a sample of the answers is searched by another process
`recording`  signs closed windows and appends them to the log
`metrics`    the sums for Prometheus
`run`        puts these together
"""
