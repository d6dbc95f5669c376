"""What the log says happened. Every fact is derived here once, and every reader asks here.

`state`     a log at one size: authority, evidence and timeline
`timeline`  who held which alias, requests, second signatures, incidents, waivers, retirements
`votes`     whose votes count, and why others do not
`persons`   which names are one person
`incidents` which incidents are open
`waivers`   which waivers are in force, and why others are not
`lineage`   from a digest back through the statements that made it
`chain`     one model and all it rests on
`packet`    what a release rests on, frozen under one digest
`verify`    a log from its first entry
"""
