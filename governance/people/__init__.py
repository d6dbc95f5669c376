"""What people do; the commands are thin. `governance.policy.authority` and
`governance.gates.checks.people` decide whether a statement counts. This package decides nothing.

a person            `speaking` (who they are, and in which role), `authorizing` (services may run in
                    their name)
policies and keys   `enrolment` edits policy.yaml; `policies`: what owners propose, sign and revoke;
                    `founding` begins a log
a version           `review`: its page, `subjects`, `votes` and waivers, `reports`; `kept`: pages on
                    this machine
an alias            `moves`; `drill` rehearses a rollback; `rollouts`: asked for, widened, stopped
open tasks          `pending`; `fleet`: of all projects, with what is live
"""
