"""Canary rollouts in use: who gets which version, what is decided, and what automation does.

The facts of a rollout are derived from the log in `governance.history.rollouts`.

`split`      which version a caller gets
`deciding`   whether a request, a step or a window may be recorded
`automation` records a window, and narrows, aborts or passes by what it shows
"""
