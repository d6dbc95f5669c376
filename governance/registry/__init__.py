"""The model registry, which people look at. Decisions are based on the log.

`port`, `mlflow`, `schema`       what a pipeline asks of a registry, by MLflow's client
`display`, `failures`, `process` what is shown there; its errors in our words; whose run it was
`runs`                           runs while they last, without MLflow: `table_runs` in its tables,
                                 `served_runs` over HTTP; `system`: the machine's load
`addresses`                      where its files are, after the folder was moved
`mlmodel`                        what tells MLflow how to load a registered model
`rows`                           its tables: read, and written with an entry of the log
`rest`                           the same over HTTP
`governed`                       MLflow's own stores behind rules
"""
