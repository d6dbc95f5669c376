"""The typed audit report, one module per group of its sections.

`report`                the whole, with its rules
`front`                 page one
`data`, `training`, `scores`, `behaviour`, `controls`, `record`, `incident`
                        its sections
`parts`                 what they share
"""
