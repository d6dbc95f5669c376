"""MLflow's own stores, behind rules that no door of the server goes around.

Read in this order:
1. `names`      which names are governed, and which only look like it;
2. `mutators`   every method of MLflow's stores, and what becomes of it for a governed model;
3. `rules`      one call, judged without input or output: refused, decided by promotion, or let
                through;
4. `governor`   the rules with their surroundings: policy in force, promotion, the record of what
                was refused (`limit`);
5. `registry_store`, `tracking_store`, `artifact_store`   MLflow's stores that ask the governor
                                                          first; paths of files as
                `paths` reads them, errors as `answers` tells them;
6. `guard`      the second choke point, below them: what is about to be written to the database.

Whatever cannot be read or asked is a refusal: without a policy, a log or a plugin there is no
registry. `governance.server` wires this to the log and to MLflow's server.
"""
