"""Signed statements. Read in this order:

`canonical`            one byte form of JSON (RFC 8785), read strictly
`digests`              files, folders, manifests
`predicates`           what a statement can say
`codes`, `findings`    every reason for a refusal: the table of stable codes, and one finding
`requests`             what a decision is asked, and what it answers
`reward_source`        what the source of a reward function declares
`keys`                 who signs
`envelope`             DSSE
"""
