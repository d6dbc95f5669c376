"""This machine.

`machine`   addresses of log and registry, and the keys kept here
`projects`  all projects that this machine knows
`trust`     what this machine trusts of a log: origin, last head, witnesses
`workers`   verifies a log on several cores
`signers`   private keys, and how they sign; `sshagent`: a client of ssh-agent
"""
