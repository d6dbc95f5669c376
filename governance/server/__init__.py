"""The server around the governed registry: MLflow's entry points, their surroundings, and how it is
started.

1. `context`      what the registry's governor asks: the log in the registry's own database, and the
                  policies in force there; and the key that signs the log's checkpoints
2. `plugin`       MLflow's entry points; they import MLflow when they are called
3. `settings`     the server's settings, and what is switched off
4. `app`          MLflow with accounts, without the parts that a governed server must not have, with
                  the log's API
5. `door`         what every request passes first: sizes, sites, the account (`accounts`), whose
                  password `passwords` checks at a bounded cost
6. `append`       which statements that API accepts
7. `run`          the start, step by step: it takes over a registry that one machine used alone, and
                  tests itself
8. `witnesses`    asks the witnesses of the policies in force, in the background
9. `several`      one such server for each of several projects; `front` passes each request to the
                  project that its address names
10. `artifacts`   which dataset or model a served file is of, and who may read it
"""
