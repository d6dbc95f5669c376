"""Moves of governed aliases.

`promotion`    decides on moves of governed aliases, and carries out those that are allowed
`cosigned`     records the cosignatures of witnesses that a promotion rests on
`retrospect`   who held an alias, and every decision made again
`serving`      finds and verifies the version that a name or alias means
`unpacking`    writes a version's verified files into a folder
`reconcile`    compares the registry with the log
`artifacts`    compares files at hand with the evidence that names them; deletes a retired version's
`shown`        what MLflow's pages show of a version's status
`drills`       rollback drills
`erasure_certificate` checks and reads the certificate of an erasure
`reading`      who may read which dataset and model now, and the statement about a read
"""
