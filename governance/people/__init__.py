"""What people do: enrol, sign policies, review, approve, reject, waive. One module each; the
commands are thin.

`governance.policy.authority` and `governance.gates.checks.people` decide whether a statement
counts. This package decides nothing.
"""
