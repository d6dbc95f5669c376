"""The model registry: what people look at. What is decided on stands in the log.

`port`, `mlflow`, `schema`       what a pipeline asks of a registry, by MLflow's client
`display`, `failures`, `process` what is shown there; its errors in our words; whose run it was
`aliases`, `versions`            rows that are written with an entry of the log, in one transaction
`rows`, `rest`                   what its tables say, read from the database or over HTTP
`governed`                       MLflow's own stores behind rules
"""
