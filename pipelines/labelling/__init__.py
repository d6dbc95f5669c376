"""A labelling round trip: people compare the answers of two models, blind, and their votes come
back as a `rated` dataset.

`sample`    draws the items, by a recorded rule
`tasks`     the folder that raters work on: tasks, Label Studio's configuration, the sample's record
`votes`     reads what raters answered, and writes it as records and as votes
`page`      a local page that shows two answers side by side, for teams without such a tool
"""
