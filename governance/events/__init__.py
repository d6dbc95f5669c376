"""What waits for someone, and what was decided, reaches receivers as webhooks (docs/events.md).

`event`     the types of events, and what one says: codes, digests, names of models, no text
`derive`    the events of a log's entries and of its open tasks
`receivers` this machine's receivers: address, secret, which events
`outbox`    events in log order, and how far each receiver is; it survives a kill at every write
`signing`   HMAC signatures as the Standard Webhooks specification describes them
`client`    posts one event: TLS, no redirects, a time limit
`sending`   from the log to the outbox, and from the outbox to the receivers
"""
