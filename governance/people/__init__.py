"""What people do: enrol, sign policies, review, approve, reject, waive. One module each; the
commands are thin.

`governance.policy.authority` and `governance.gates.checks.people` judge what is said here; nothing
in this package decides.
"""
