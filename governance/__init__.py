"""The trust core. Free of torch, TRL, datasets and DVC. Where each promise of the design is kept:

 1 digest, not name          canonical, digests; lineage and chain follow digests back through the log
 2 signed, logged, kept      predicates (what is said), envelope, keys, sshagent (who signs), evidence (recorded, read),
                             log/ (where), verify (all of it checked), carry (from log to log)
 3 a decision is pure        decisions (tables of checks), checks/ (one function each), requests, findings;
                             assessment, statistics, recall (the figures it is held against)
 4 fail closed               decisions._guarded; policy and yamlfile (nothing permissive); server/, registry/governed/
 5 decided again             decisions._again; packet (what was approved), promotion (what it is decided on), retrospect
 6 enforced at the registry  registry/governed/ (MLflow's stores), promotion.Promoter (the one door), reconcile (detect)
 7 caching stays honest      artifacts (files at hand against evidence); pipelines.stage on the other side
 8 costs almost nothing      benchmarks/; commands/ are imported one by one
 9 standards                 exports/, schemas/, log.checkpoint, bundle/
10 what is not shown         verify.LIMITS, report/

People: authority (whose key, which policies, at which entry), people/ (what they do).
Moves: releasing (what people ask for), rehearsal (the way back, tried), retirement (bytes that go).
Models: modelfiles, modelfolder, weights (what a folder may hold), serving (what is loaded is what was hashed).
Policies: policy, data_policy, evaluation_policy, controls. This machine: machine, storage, status, progress.
For all: errors (and exit codes), model (typed), instants (times); publish writes what is generated from the code.
"""
