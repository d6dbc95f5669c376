"""Policies as typed data, and who may say what under them.

`policies`                         policies/ read whole, with one digest
`data`, `evaluation`, `controls`   parts of it, each with the model of its files
`authority`                        whose key it was, and which policies were in force, at each entry
`publish`                          writes the pages and schemas that are made from the code
"""
