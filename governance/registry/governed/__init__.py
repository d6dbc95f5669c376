"""MLflow's own stores behind rules that hold for pages, REST API and client.

Read in this order:
1. `names`      which names are governed, and which only look like them;
2. `mutators`   every method of MLflow's stores: judged, or known to be harmless;
3. `rules`      judges one call, without input or output: allowed, refused or a promotion;
4. `governor`   the rules with what they need: policy in force, promotion, the record of refusals
                (`limit`);
5. `registry_store`, `tracking_store`, `artifact_store`   MLflow's stores, which ask the governor
                first; `paths` checks paths of files, `answers` turns our errors into MLflow's;
6. `guard`      the second check: what is about to be written to the database.

Everything fails closed: without policy, log or plugin there is no registry. `governance.server`
connects this to the log and to MLflow's server.
"""
