"""The log. Read in this order:

`port`                           what a log is, whatever it stands in
`merkle`, `checkpoint`           the tree over its entries, and the signed note of its state
`notes`                          signed notes of any log, and the cosignatures of witnesses
`model_index`                    the signed note of how many entries concern a model
`heads`                          the last checkpoint of each log that this machine knows
`sql`, `sqlite`, `postgres`      the log in a database; `copies`: entries from another log
`api`, `routes`                  the log over HTTP: the server's side and its routes
`http_client`, `mirror`          the other side: every request, and the copy on another machine
`evidence`, `views`, `carry`     typed statements, recorded; read; stated again in another log
`rules`                          the version of the rules that judges each entry
"""
