"""Policies as typed data, and who may say what under them.

`rules`, `data`, `evaluation`   what each file can say
`expectations`                  suites in Great Expectations' own format
`labelling`                     what is declared of labels, and whose count
`constitution`                  by which principles data is generated
`judges`                        what the card of a judge must show
`clocks`                        which legal deadlines an incident can start, and when they end
`declarations`                  what is declared of a model that was trained elsewhere
`readers`                       who may read which dataset and model
`rollouts`                      who may ask for and widen canary rollouts, and their limits
`witnesses`                     which cosignatures of the log's checkpoints count
`policies`                      policies/ read whole, with one digest
`speakers`                      who may make which statement, from version 2 of a log's rules on
`authority`                     whose key it was, and which policies were in force, at each entry
"""
