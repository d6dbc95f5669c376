"""The checks of a decision: small pure functions from a context to findings.
`governance.gates.decisions` has the tables.

`context`              what every check may read
`data`, `stage`        of a gate: the data, and the request itself
`copies`               of a gate or release: the same records under two names
`suites`               of a gate or release: what data was compared with, and scans of tasks
`generation`           of a generated dataset: constitution, endpoints, what its datacard says
`erasures`             of a gate or release: records that were erased on request
`models`               the parents, and the version of a release
`behaviour`            of the same: how they behave on held-out prompts
`leaks`                of the same: what they give away of their training data
`scorers`              of a gate: whether people withdrew its reward model
`imports`              of a release: a model that was trained elsewhere
`monitoring`           of a promotion: what the version did in service
`witnesses`            of a promotion: who outside the operator has seen the log
`people`               what people signed; `votes` and `waivers`: which of it counts
"""
