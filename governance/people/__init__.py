"""What people do: enrol, sign policies, review, approve, reject, waive. One module each; the commands are thin.

`governance.authority` and `governance.checks.people` judge what is said here; nothing in this package decides.
"""
