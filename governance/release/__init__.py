"""Moves of governed aliases.

`promotion`    the request for a decision on a governed alias, and the decision
`promoter`     carries out the moves that decisions allow
`retrospect`   who held an alias, and every decision made again
`serving`      finds and verifies the version that a name or alias means
`reconcile`    compares the registry with the log
`artifacts`    compares files at hand with the evidence that names them
`retirement`   deletes the files of a retired version
`drills`       rollback drills
"""
