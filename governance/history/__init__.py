"""What the log says happened.

`lineage`   from a digest back through the statements that made it
`chain`     one model and all it rests on
`packet`    what a release rests on, frozen under one digest
`verify`    a log from its first entry
"""
