"""What the log says happened. Each fact is derived here once. Every reader takes it from here.

`state`     a log at one size: authority, evidence and timeline
`timeline`  who held which alias, requests, second signatures, incidents, waivers, retirements
`votes`     which votes count, and why others do not
`persons`   which names are one person
`authorizations` which runs a person authorized
`incidents` which incidents are open
`rollouts`  canary rollouts: their share of traffic, what was observed, which passed
`rollout_rules` which statements about them count
`erasures`  what was erased, which data may still be used, which live versions have seen it
`cases`     what people said of each incident, from opening to closing
`descendants` which models were made from a model
`reviews`   by when versions in use are reviewed again, and which reviews are overdue
`monitoring` what versions did in service, and which limits of policy they breach
`periods`   which windows of a version are its beginning, and which are late
`drift`     whether what a version gets, answers and hears has changed since its beginning
`clocks`    which legal deadlines incidents started, and which were late
`waivers`   which waivers are in force, and why others are not
`contents`  which dataset or model a digest is the content of
`lineage`   from a digest back through the statements that made it
`seeds`     how scores vary between training seeds
`chain`     one model and everything it was made from
`packet`    what a release rests on, frozen under one digest
`model_entries` which entries of a log concern a model, and their signed index
`witnesses` which witnesses have seen this very log
`verify`    verifies a log from its first entry
"""
