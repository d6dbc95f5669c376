"""The log. Read in this order:

`port`                           what a log is, whatever it stands in
`merkle`, `checkpoint`           the tree over its entries, and the signed note of its state
`sql`, `sqlite`, `postgres`      the log in a database; `copies`: entries from another log
`api`, `routes`                  the log over HTTP: the server's side and its routes
`http_client`, `mirror`          the other side: every request, and the copy on another machine
`evidence`, `views`, `carry`     typed statements, recorded; read; carried to another log
"""
