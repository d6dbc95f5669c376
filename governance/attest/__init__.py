"""Signed statements. Read in this order:

`canonical`            one byte form of JSON (RFC 8785), read strictly
`digests`              files, folders, manifests
`predicates`           what a statement can say; `schemas`: the same for other tools
`findings`             every reason for a refusal, by a stable code
`requests`             what a decision is asked, and what it answers
`keys`                 who signs
`envelope`             DSSE
"""
