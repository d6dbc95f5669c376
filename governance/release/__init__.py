"""Moves of governed aliases.

`promotion`    a decision on exactly the log as it stands, and the move that it allows
`retrospect`   who held an alias, and every decision performed again
`serving`      a model that is loaded is the one that was decided on
`reconcile`    the registry compared with the log
`retirement`   the bytes of a retired version
`drills`       rehearsals of the way back
"""
