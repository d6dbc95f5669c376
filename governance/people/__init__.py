"""What people do; the commands are thin. `governance.policy.authority` and
`governance.gates.checks.people` decide whether a statement counts. This package decides nothing.

a person            `speaking` (who they are, and in which role), `keys` (revoked, replaced),
                    `authorizing` (services may run in their name)
policies            `enrolment` edits policy.yaml; `policies` proposes and signs; `founding` begins
                    a log
a version           `review`: its page, `subjects` and `votes`, `waiving`, `reports`; `kept`:
                    pages on this machine
an alias            `moves`; `drill` rehearses a rollback
open tasks          `pending`
"""
