"""The checks of a decision: small pure functions from a context to findings.
`governance.gates.decisions` has the tables.
"""
