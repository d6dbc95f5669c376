"""Checks a judge before its judgements count (docs/judges.md).

`judge`     who the judge is, whether it may be asked, and asking it
`labelled`  pairs of answers that people labelled
`probes`    what an answer is tried with that must not win by it (`probes.yaml` has the texts)
`measure`   asks the judge, in both orders, and counts
`agreement` compares its decisions with those of people
"""
