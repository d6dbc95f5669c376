"""Helpers that every package uses. They know nothing of governance.

`errors`       every error a user can meet, with its exit code
`model`        the base class of everything typed that crosses a boundary
`time`         times as they are written
`text`         text that is safe on a page
`yaml`         strict YAML; `fast_yaml` reads plain files of it through libyaml
`storage`      atomic writes
`home`         the folder for state on this machine
`compiled_templates` Jinja templates that are compiled once per machine
`distribution` the name on a package index, and the version
`statistics`   means, differences and their intervals
`sequences`    intervals of means that hold at every moment at once
`progress`     a bar on a terminal
"""
