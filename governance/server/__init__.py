"""The server around the governed registry: MLflow's entry points, their surroundings, and how it is
started.

1. `context`    what the registry's governor asks: the log in the registry's own database, the
                policies in force there;
                `checkpoints`: the key that signs it;
2. `plugin`     MLflow's entry points, free of MLflow until they are called;
3. `settings`   everything the server is told, and what is switched off;
4. `app`        MLflow with accounts, less what a governed server does not have, plus the log's API,
                to which `append` says what may be said;
5. `trial`      the attempt it makes on itself before it serves;
6. `run`        the start, in order; `adopt`, of a registry that one machine used alone;
7. `shown`      what MLflow's pages show of a version's status.
"""
