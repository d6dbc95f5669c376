"""Every finding code of the project, as one table.

Each entry: the code, its flags, its title; what it means; after `>`, the general next step.
`never waived`: no waiver passes it, whatever policy says, or nothing that is decided could be
believed. `information`: it blocks nothing by itself; it is the reason of an excluded record, or a
remark.

A code is stable: reports, waivers and other people's scripts name it, so it is never renamed or
used for something else. `docs/findings.md` is generated from here (`python -m
governance.policy.publish`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """One kind of finding."""

    title: str
    meaning: str
    next: str
    """The next step in general; a finding names the file and field, or the command."""
    blocking: bool = True
    section: str = "Gate and release"
    waivable: bool = True


_HEAD = re.compile(r"(?P<code>[A-Z_]+)(?: \((?P<flags>[a-z ,]+)\))?: (?P<title>.+)")

_TABLE = """
# Gate and release

CHECK_CRASHED (never waived): A check could not be carried out
  A check of the decision raised an error. What cannot be checked is denied.
  > run the command again with --debug; if it is a fault of Countersign, report it

EVIDENCE_MISSING (never waived): Evidence is missing
  The log at hand has no acceptable statement about these digests: none was recorded here, it was
  signed by a key that policy does not let sign that kind, or it was recorded after the fact.
  > join the log that has it (COUNTERSIGN_HOME or COUNTERSIGN_LOG), or make it again: countersign
  repro --force STAGE

EVIDENCE_INCONSISTENT (never waived): Evidence does not agree with itself
  Two statements that belong together name different digests, or a statement says of its stage what
  its gate did not decide on.
  > make the stage again, so that its evidence is recorded in one go: countersign repro --force
  STAGE

MODEL_UNKNOWN (never waived): The model has no tier
  The name under which the result is released is not in `policies/policy.yaml`, so nobody has said
  what must hold for it.
  > policies/policy.yaml: add the model and its tier under `models`

KIND_UNFIT: The dataset's kind does not fit the method
  The method cannot train on records of this kind.
  > params.yaml: give the stage another `data` or another `method`

SCAN_NOT_PASSED: The PII scan did not pass
  The scan of these records was refused.
  > read reports/scan_pii/DATASET/report.md, mend the source or policies/pii.yaml, then `dvc repro`

SCAN_OUT_OF_DATE: The PII scan was made under another policy
  The scan's configuration is not the `policies/pii.yaml` in force.
  > scan again under the policy in force: dvc repro scan_pii@DATASET

PII_REMAINING: Personal data remains that policy does not allow
  The scan of what was written found entities whose action is not `allow`.
  > policies/pii.yaml: redact or drop the entity, or allow it with a reason

NER_REQUIRED: Names were searched for without a model
  Policy demands a real named-entity model; the scan used a name list.
  > policies/pii.yaml: set `ner` to spacy:<folder> or transformers:<folder>, then `dvc repro`

RECALL_NOT_MEASURED: Nobody knows how much the PII scan finds
  Policy demands a least recall, and the scan's evidence has none for these kinds of personal data:
  it was made before recall was measured, nothing searches for them, or there are no made-up values
  of them.
  > scan again: dvc repro scan_pii@DATASET; or policies/pii.yaml: minimum_recall

RECALL_TOO_LOW: The PII scan finds too little
  Of the made-up values planted in the dataset's own texts, the search found fewer than policy
  demands: the lower end of the 95% interval is below `minimum_recall`.
  > policies/pii.yaml: a real model (`ner`), another threshold or a pattern of your own, then `dvc
  repro`

QUALITY_NOT_PASSED: The quality suite did not pass
  The quality gate refused these records, or a critical expectation of it failed.
  > read reports/check_quality/DATASET/report.md, mend the source or the suite, then `dvc repro`

SUITE_OUT_OF_DATE: The records were held against another quality suite
  The suite in the evidence is no suite of `policies/quality/` in force for this kind of dataset, or
  an expectation of it was left out.
  > hold them against the suite in force: dvc repro check_quality@DATASET

SUITE_NOT_DECLARED: The records were held against another suite than their datacard names
  params.yaml chose a quality suite, and the datacard under `policies/` names another one: the
  datacard decides.
  > params.yaml: set the dataset's `suite` to that of its datacard, then `dvc repro`

HELD_OUT_UNCHECKED: No leak check against the evaluation dataset
  The records were not searched for leaks into the dataset on which this stage's result is
  evaluated.
  > params.yaml: set the dataset's `held_out` to the stage's `suite`, then `dvc repro`

DATACARD_MISSING: The dataset has no datacard
  Nobody has declared origin, licence, lawful basis and the rest of this dataset.
  > write policies/datacards/DATASET.yaml (`countersign add FILE` writes one with blanks)

DATACARD_INCOMPLETE: The datacard has blanks
  Fields that must be declared before anything trains are empty.
  > policies/datacards/DATASET.yaml: fill in the fields

DATACARD_EXPIRED: The data may no longer be kept
  The retention period that the datacard declares is over.
  > erase the data, or renew the basis and set `retention.until` in policies/datacards/DATASET.yaml

PURPOSE_NOT_PERMITTED: The data was not collected for this purpose
  The model's purpose is not among those the datacard permits.
  > use other data, or have the steward add the purpose to policies/datacards/DATASET.yaml: purposes

REGION_NOT_PERMITTED: The data may not be processed in this region
  The region where the model is made is not among those the datacard permits.
  > use other data, or have the steward add the region to policies/datacards/DATASET.yaml: regions

CLASSIFICATION_NOT_PERMITTED: The data's classification is too high
  The model's tier does not permit data of this classification.
  > use other data, or policies/policy.yaml: tiers.TIER.classifications

LICENCE_NOT_PERMITTED: The licence is not permitted
  The licence of a dataset or base model is not in policy's list.
  > use something else, or policies/policy.yaml: licences

SOURCE_CHANGED: The source is not the one declared
  The datacard pins the source's sha256, and the ingested source has another.
  > check the new source, then set source_sha256 in policies/datacards/DATASET.yaml

SOURCE_UNPINNED: The source is not pinned
  The model's tier demands that the datacard names the sha256 of the source.
  > policies/datacards/DATASET.yaml: set source_sha256 to the digest found

BASE_NOT_ALLOWED: The base model is not allowed
  A model from outside is not in `policies/bases.yaml`.
  > review it, then: countersign allow-base NAME --licence SPDX-ID

BASE_CHANGED (never waived): The base model is not the one allowed
  Policy allows a base of this name with another digest.
  > bring back the allowed bytes, or review the new ones: countersign allow-base NAME --licence
  SPDX-ID

UNSAFE_FILES (never waived): A model folder holds files that can run code
  Pickled weights or Python files were found; only safetensors, JSON and plain text are loaded.
  > use a revision with safetensors weights and without code

GATE_MISSING (never waived): A model was trained without an allowed gate
  The log has no decision allowing the training of this model recorded before the training itself.
  > train it again behind its gate: countersign repro --force train@STAGE

THRESHOLDS_MISSING: Policy sets no thresholds for this evaluation
  `policies/evaluation.yaml` says neither thresholds nor `none: <reason>` for this suite and method.
  > policies/evaluation.yaml: suites.SUITE.METHOD

THRESHOLD_NOT_MET: A threshold is not met
  A figure of the evaluation, or the end of its confidence interval that counts, is beyond the
  threshold.
  > improve the model or its data; the thresholds stand in policies/evaluation.yaml

SLICE_NOT_MET: A slice of the evaluation is beyond its threshold
  The model does well enough over all items, or not, and too badly on those of one slice (a
  language, a topic): the worst is named, with its items and interval.
  > improve the model or its data for that slice; the thresholds stand in policies/evaluation.yaml:
  slices

WORSE_THAN_REFERENCE: Worse than what it is compared with
  On the same items, the difference to base, parent or champion goes beyond the margin that policy
  gives.
  > improve the model or its data; the margins stand in policies/evaluation.yaml

NOT_COMPARABLE: The comparison that policy demands cannot be made
  There is no evaluation of the reference on the same suite, or it has other items.
  > evaluate both on the same suite: countersign repro --force evaluate@STAGE

EVALUATION_INCOMPLETE: The evaluation lacks scores
  A metric that policy sets a threshold for is absent, was not run, has items without a score or too
  few items.
  > params.yaml: suites.SUITE.metrics and limit, then `dvc repro`

EVALUATION_OUT_OF_DATE: The evaluation used another suite
  The dataset, split, metrics or generation settings have changed since the model was evaluated, or
  differ from those policy pins.
  > evaluate again: countersign repro --force evaluate@STAGE

OBJECTIVE_UNKNOWN: The objective is not known by digest
  The stage's hyperparameters, or one of its reward functions, have no digest.
  > params.yaml: check the stage's `method`, `trainer` and `rewards`

REWARD_NOT_PERMITTED: The reward function is not permitted
  Policy lists the reward functions that may be used, and this one is not among them.
  > policies/policy.yaml: rewards

APPROVAL_MISSING (never waived): An approval is missing
  The model's tier demands that people approve this before it is used.
  > countersign approve, by as many people as it says and in the roles it names

SEPARATE_EVALUATOR: Trainer and evaluator are the same
  The model's tier demands an evaluation signed by a key other than the trainer's.
  > run the evaluation with another COUNTERSIGN_SIGNER

ALIAS_NOT_PERMITTED (never waived): The alias cannot be given on this evidence
  Governed aliases need approvals by people, keys that are not development keys, committed code and
  a promotable tier.
  > `candidate` is what evidence alone can give

LAWFUL_BASIS_NOT_PERMITTED: The lawful basis is not accepted
  Policy does not accept the lawful basis that the datacard declares.
  > use other data, or policies/policy.yaml: lawful_bases

SUITE_UNPINNED: The evaluation suite is not pinned
  The model's tier demands that policy names the digest of every suite that decides.
  > policies/evaluation.yaml: suites.SUITE.digest

# Rows left out at ingest

ROW_UNREADABLE (information): The row cannot be read
  It is not valid JSON, is nested too deeply, or has another number of fields than the header of its
  CSV file.
  > mend the row in the source, or permit its loss in policies/policy.yaml: ingest

ROW_NOT_OBJECT (information): The row is not an object
  It is valid JSON, but a list, a number or text, so it has no fields.
  > mend the row in the source, or permit its loss in policies/policy.yaml: ingest

ROW_TOO_LONG (information): The row is too long
  It has more characters than a record may have (16 Mi).
  > split the text in the source, or permit its loss in policies/policy.yaml: ingest

ROW_ENCODING (information): The text is not in the file's encoding
  Bytes of it are no text in the encoding of the dataset, or it has half of a UTF-16 pair.
  > set `encoding` of the dataset in params.yaml (e.g. cp1252), or mend the row in the source

KEY_REPEATED (information): A key stands twice in one object
  Two readers could take different values of it, so neither is taken.
  > remove one of the two in the source, or permit the row's loss in policies/policy.yaml: ingest

FIELD_MISSING (information): A field is missing
  Other rows of the file have the field and this one does not.
  > add the field in the source, or permit the row's loss in policies/policy.yaml: ingest

FIELD_NOT_TEXT (information): A field is not text
  Text was expected, and null, a boolean, a number, a list or an object was found.
  > mend the field in the source, or permit the row's loss in policies/policy.yaml: ingest

MESSAGES_MALFORMED (information): A conversation is not one
  It is not a list of messages, is empty, or does not end with the assistant's answer where one is
  needed.
  > mend the conversation in the source, or permit the row's loss in policies/policy.yaml: ingest

ROLE_UNKNOWN (information): A message has an unknown role
  The role is none that is known for user, assistant, system or tool.
  > rename the role in the source, or add it to ROLE_NAMES in pipelines/sources/messages.py

LABEL_NOT_BOOLEAN (information): A label is neither true nor false
  An unpaired record says of its answer whether it is wanted.
  > mend the label in the source, or permit the row's loss in policies/policy.yaml: ingest

RATING_INVALID (information): A rating cannot be used
  It is not a finite number, prefers an answer that is not there, names one rater twice, or nobody
  rated the row.
  > mend the rating in the source, or permit the row's loss in policies/policy.yaml: ingest

TURNS_UNANSWERED (information): Several turns without the answers between them
  A later turn cannot be asked without the answer to the first, which the data does not have.
  > take the first turn alone: in params.yaml give the dataset `fields: {prompt: turns.0}`

PROMPT_MISMATCH (information): The two prompts of a pair differ
  Chosen and rejected are whole conversations, and differ before the last answer. Always left out.
  > nothing, unless there are many: then look at how the pairs were made

NO_COMPARISON (information): Nothing to compare
  A list of ranked answers has fewer than two. Always left out.
  > nothing, unless there are many: then look at how the answers were collected

# PII scan and quality gate

PII_BLOCKED: Personal data that policy refuses
  The scan found an entity whose action in `policies/pii.yaml` is `block`.
  > remove it from the source (records: reports/scan_pii/DATASET/report.json); a secret must also be
  revoked

QUALITY_CHECK_CRASHED: An expectation could not be judged
  Great Expectations raised an error, or found no value to judge. What cannot be judged does not
  pass.
  > policies/quality/SUITE.yaml: mend the expectation, or take it out

TOO_FEW_RECORDS: Too few records
  Fewer records are left than the suite asks for.
  > read what was left out and why in reports/check_quality/DATASET/report.md; bring more data, or
  change the suite

LABELS_UNBALANCED: Labels are out of balance
  Wanted and unwanted answers are not in the proportion the suite asks for.
  > bring more of the rarer label, or change the suite

AGREEMENT_TOO_LOW: Raters do not agree
  Krippendorff's alpha over the dataset is below the suite's bound, or cannot be had.
  > look at the guidelines raters had; have records rated again, or leave out the raters who differ

LENGTH_BIAS (information): The chosen answer is mostly the longer one, or mostly the shorter
  A model can learn length instead of quality from such pairs.
  > bring pairs that balance it, or accept it: the suite only reports it unless told otherwise

# Records left out by the scan and the quality gate

PII_DROPPED (information): Personal data that is not kept
  The record holds an entity whose action in `policies/pii.yaml` is `drop`.
  > nothing, or redact instead: policies/pii.yaml, entities

PII_UNSCANNED (information): The record could not be searched to the end
  A pattern took too long or a recognizer failed on one of its texts; what was not searched is not
  taken for clean.
  > look at the record: it is most likely no text; or mend the pattern in policies/pii.yaml,
  recognizers

EMPTY_TEXT (information): Empty text
  A message or reference answer is nothing but white space, or an answer has no message.
  > nothing, unless there are many: then look at how the data was made

NOT_TEXT (information): Characters that no text has
  Control characters, or U+FFFD where bytes were lost in an earlier conversion.
  > convert the source again from its original encoding

ROLES_OUT_OF_ORDER (information): Roles are out of order
  Somebody speaks twice in a row, the system speaks later than first, or the wrong one begins or
  ends.
  > mend the conversation in the source

DUPLICATE (information): A duplicate
  An earlier record says the same, case and white space aside.
  > nothing: the first one is kept

NEAR_DUPLICATE (information): A near-duplicate
  An earlier record shares most of its word triples (MinHash).
  > nothing, or change near_duplicate_similarity in the suite

LEAK_HELD_OUT (information): A leak into the held-out dataset
  The record asks what a held-out record asks, or quotes it: training on it would make the
  evaluation worthless.
  > nothing: it is left out

LEAK_SPLIT (information): A leak between splits
  A training record asks what a validation or test record of the same dataset asks.
  > nothing: it is left out

CHOSEN_EQUALS_REJECTED (information): Both answers are the same
  Nothing can be learnt from preferring an answer to itself.
  > nothing, unless there are many: then look at how the pairs were made

CONTRADICTED (information): The opposite judgement stands in the data
  An earlier record judges the same answers to the same prompt the other way round.
  > decide which is right in the source; the first one is kept

TOO_LONG (information): Too long
  The record has more characters than the suite permits.
  > shorten it in the source, or change the suite

TOO_SHORT (information): Too short
  The record, or an answer of it, is shorter than the suite permits.
  > nothing, or change the suite

ANSWER_MISSING (information): No reference answer
  There is nothing a reward or metric could verify the model's answer against.
  > add the answer in the source, or name its field in params.yaml: datasets.DATASET.fields

WRONG_LANGUAGE (information): Another language
  The text is not in the language the suite names.
  > nothing, or change `language` in the suite

TOO_FEW_RATERS (information): Too few raters
  Fewer people rated the record than the suite asks for.
  > have it rated again

RATERS_DISAGREE (information): The raters of this record disagree
  No rating was given by as large a share of its raters as the suite asks for.
  > have it rated again, or leave it out

# People and governed aliases

POLICY_NOT_SIGNED (never waived): The policies were not signed by their owners
  A governed alias moves only under policies that a quorum of the owners they name has signed.
  > countersign policy sign, by each owner

REQUESTER_UNKNOWN: Nobody authenticated asked for the runs
  Services sign for themselves; a person must have let them run in their name, by a signed
  authorization in force.
  > countersign authorize, then countersign repro --force with COUNTERSIGN_REQUESTER set to that
  person

ALIAS_UNKNOWN (never waived): Policy does not govern this alias
  An alias of a model that policy names needs a rule, or nobody can be asked for it.
  > policies/policy.yaml: aliases

REQUEST_MISSING (never waived): No open request
  A governed alias moves only by consuming one open request, signed by a person who may ask for it.
  > countersign promote MODEL/VERSION --to ALIAS

REQUEST_NOT_ENTITLED (never waived): The requester may not ask for it
  Policy names the roles in which a person may ask for a move of this alias.
  > have it asked for by somebody in that role

REQUEST_MISMATCH (never waived): The request is for something else
  Model, version, digest, alias, action and packet of a request are those of the move, or it is no
  request for it.
  > sign a request for this move: countersign promote MODEL/VERSION --to ALIAS

REQUEST_CONFLICT (never waived): The alias moved meanwhile
  A request names the version it replaces; another holds the alias now.
  > look at who holds it (countersign live MODEL), then ask again

REQUEST_EXPIRED (never waived): The request is not open
  A request is good from when it was signed until it expires, and for no longer than policy permits.
  > sign a new one: countersign promote MODEL/VERSION --to ALIAS

REQUEST_SPENT (never waived): The request was carried out already
  A request is consumed by the move it asks for.
  > sign a new one: countersign promote MODEL/VERSION --to ALIAS

PACKET_MISSING (never waived): There is no packet
  Approvals are of a packet: everything the release rests on, frozen under one digest.
  > countersign freeze MODEL/VERSION

PACKET_OUT_OF_DATE (never waived): The packet is out of date
  Evidence, policies or tier changed since the packet was put together, so what was approved is not
  what is there.
  > countersign freeze MODEL/VERSION, and have it approved again

REJECTED (never waived): Somebody rejects it
  A person whose role may approve has rejected this packet. Their last word counts.
  > mend what they name; or they approve it after all

WAIVER_NOT_IN_FORCE (never waived): A waiver does not count
  It expired, lasts too long, is of a finding that is never waived, was not accepted by somebody who
  may, or the packet does not name it.
  > mend the finding, or have a new waiver accepted: countersign waive

INCIDENT_OPEN: An incident is open
  Somebody reported that something is wrong with this model, and nobody has closed it.
  > countersign incident close MODEL/VERSION, once it is mended

INCIDENT_NOT_CLOSED: An incident was closed by somebody who may not
  Policy lists the roles that close an incident, and this was said in another; it is still open.
  > countersign incident close MODEL/VERSION, by a person in one of policies/policy.yaml:
  incidents.closed_by

CANARY_MISSING: No canary has passed
  The tier demands a canary before this alias; nothing records one yet, so only a waiver passes
  this.
  > countersign waive --finding CANARY_MISSING, where policy permits

COMMIT_NOT_PERMITTED: The code is of a commit that policy does not name
  Policy lists the commits whose code may make a release.
  > run it from a permitted commit, or policies/policy.yaml: commits

NEVER_RELEASED (never waived): It never held this alias
  A rollback goes back to a version that was approved and released under this alias before.
  > countersign promote MODEL/VERSION --to ALIAS

RETIRED (never waived): The version was retired
  A signed decision took these bytes out of service, under this number or another; they may be gone.
  > release another version: countersign promote MODEL/VERSION --to ALIAS

DECISION_NOT_REPRODUCED: A decision does not come out again
  A governed alias moved by an entry that allows what the rules in force did not, or that answers
  another question than the log asked there: somebody with the service's key wrote it past the
  decision.
  > treat the service's key as lost: countersign revoke, then countersign rollback

SECOND_SIGNATURE_OVERDUE: A second signature is overdue
  One person moved an alias alone, as policy permits in need; somebody else had to sign it by now.
  > countersign approve REQUEST, by somebody else

# Registry

REGISTRY_ALIAS_MOVED: An alias was moved behind the log's back
  The registry gives a governed alias to another version than the log's last decision did.
  > find out who wrote the registry's database past the server; then put the row back as the log has
  it, or promote anew: countersign history MODEL

REGISTRY_ALIAS_UNKNOWN: An alias that policy does not know
  A governed model has an alias that no policy in force names.
  > remove it, or have policies/policy.yaml changed and signed

REGISTRY_VERSION_MISSING: A version is gone from the registry
  The log has the registration of a version that the registry deleted, or never had.
  > restore the registry's database and files from a backup; the log's entries stay

REGISTRY_VERSION_UNKNOWN: A version that the log does not know
  The registry has a version of a governed model that was neither registered with evidence nor made
  through the server. It can be given no alias.
  > if a registration was cut off, `countersign repro` finishes it; otherwise find out who made it

REGISTRY_SOURCE_CHANGED: A version's source was changed
  The registry names another run or folder for a version's files than the one it was registered
  from.
  > find out who wrote the registry's database past the server; then put the row back as the log has
  it, or promote anew: countersign history MODEL

REGISTRY_DIGEST_CHANGED: A version's digest tag was changed
  The tag by which the registry shows a version's digest is not the digest in its registration.
  > find out who wrote the registry's database past the server; then put the row back as the log has
  it, or promote anew: countersign history MODEL

REGISTRY_STAGE_SET: A stage was set
  A governed version has one of MLflow's stages. Stages say nothing here; somebody may believe them.
  > find out who wrote the registry's database past the server; then put the row back as the log has
  it, or promote anew: countersign history MODEL

REGISTRY_RUN_MISSING: A run is gone
  The run from which a governed version was registered is deleted.
  > restore it (mlflow runs restore), or the registry's database from a backup

REGISTRY_LOOKALIKE: A name that looks like a governed model's
  The registry has a model whose name could be taken for that of a governed one.
  > delete that model; nothing governed is in it
"""


def read_table(table: str) -> Iterator[tuple[str, Code]]:
    """The codes of a table. Raises `ValueError` for an entry that is none."""
    section = ""
    for block in table.strip().split("\n\n"):
        if block.startswith("# "):
            section = block.removeprefix("# ")
            continue
        first, _, rest = block.partition("\n")
        head = _HEAD.fullmatch(first)
        meaning, separator, step = (" ".join(rest.split())).partition(" > ")
        if head is None or not separator:
            raise ValueError(f"not an entry of the table of findings: {first}")
        flags = (head["flags"] or "").split(", ")
        yield (
            head["code"],
            Code(
                title=head["title"],
                meaning=meaning,
                next=step,
                blocking="information" not in flags,
                section=section,
                waivable="never waived" not in flags,
            ),
        )


CODES: dict[str, Code] = dict(read_table(_TABLE))
NEVER_WAIVED = frozenset(code for code, entry in CODES.items() if not entry.waivable)
"""Codes that no waiver passes."""
