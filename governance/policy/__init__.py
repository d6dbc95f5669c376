"""Policies as typed data, and who may say what under them.

`rules`, `data`, `evaluation`   what each file can say
`policies`                      policies/ read whole, with one digest
`authority`                     whose key it was, and which policies were in force, at each entry
"""
