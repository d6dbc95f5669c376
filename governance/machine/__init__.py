"""This machine.

`machine`   addresses of log and registry, and the keys kept here
`signers`   private keys, and how they sign; `sshagent`: a client of ssh-agent
"""
