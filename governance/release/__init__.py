"""Moves of governed aliases.

`promotion`    what a decision on a governed alias is asked, and the decision
`promoter`     carries out the moves that decisions allow
`retrospect`   who held an alias, and every decision performed again
`serving`      a model that is loaded is the one that was decided on
`reconcile`    the registry compared with the log
`retirement`   the bytes of a retired version
`drills`       rehearsals of the way back
"""
