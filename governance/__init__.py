"""The trust core, free of torch, TRL, datasets and DVC. Imports go down this list, never up.

commands   the command line, one module for each family
server     a team's MLflow server whose governed aliases move by signed decisions only
people     what people do: enrol, sign policies, review, approve, reject, waive, ask for moves
exports    model card, BOM, Croissant, SLSA and in-toto documents for other tools
report     the audit report of a version, the index of all, the project's status
bundle     one file with everything the log says about a version, checked offline
witness    outsiders cosign the log's checkpoints: both sides, and two copies compared
rollout    canary rollouts: who gets which version, what is decided, what automation does
release    moves of governed aliases: carried out, performed again, served, reconciled
machine    this machine's addresses of log and registry, and the keys kept here
registry   MLflow, and its stores behind our rules
gates      decisions: pure functions of policy, evidence and one reference time
history    what the log says happened: lineage, packets, verification
policy     policies as typed data, and who may say what under them
models     model folders as files
log        the append-only log: Merkle tree, checkpoints, databases, HTTP, evidence
attest     signed statements: canonical JSON, digests, keys, envelopes, predicates, findings
base       errors, time, text, YAML, storage
"""
