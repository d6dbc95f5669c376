"""The checks of a decision: small pure functions from a context to findings. `governance.decisions` has the tables."""
