"""Every finding code of the project, as one table.

An entry is the code, its flags, and one sentence: the message of a finding that has none of its
own. After `>` stands the next step in general, else the entry takes that of its section.
`never waived`: no waiver passes it, whatever policy says, or nothing that is decided could be
believed. `information`: it blocks nothing by itself; it is the reason of an excluded record, or a
remark. A flag of a section is a flag of its entries. A finding fills in `{fields}`; `{name}` is the
name in its subject.

A code is stable: reports, waivers and other people's scripts name it, so it is never renamed or
used for something else. `docs/findings.md` is generated from here (`python -m
governance.exports.publish`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


class _Blanks(dict[str, str]):
    def __missing__(self, field: str) -> str:
        return field.upper()


@dataclass(frozen=True)
class Code:
    """One kind of finding."""

    sentence: str
    """What is wrong, with `{fields}`. It begins in lower case: findings show it after a subject."""
    step: str
    """The next step, with `{fields}`."""
    blocking: bool
    section: str
    waivable: bool

    @property
    def title(self) -> str:
        """The sentence for a list of codes."""
        text = self.message_for({})
        return text[:1].upper() + text[1:]

    @property
    def next(self) -> str:
        """The next step for a list of codes."""
        return self.step_for({})

    def message_for(self, fields: dict[str, str]) -> str:
        """The sentence of one finding; a field that it lacks stands there in capitals."""
        return self.sentence.format_map(_Blanks(fields))

    def step_for(self, fields: dict[str, str]) -> str:
        """The next step of one finding, likewise."""
        return self.step.format_map(_Blanks(fields))


_ENTRY = re.compile(r"(?P<name>[A-Z_]+|# [^(:]+?)(?: \((?P<flags>[a-z ,]+)\))?(?:: (?P<text>.+))?")

_TABLE = """
# Gate and release
CHECK_CRASHED (never waived): a check could not be carried out, so it is denied
  > run the command again with --debug; if it is a fault of Countersign, report it
EVIDENCE_MISSING (never waived): the log at hand has no statement about these digests that counts
  > join the log that has it (COUNTERSIGN_HOME or COUNTERSIGN_LOG), or make it again: countersign
  repro --force {stages}
EVIDENCE_INCONSISTENT (never waived): statements that belong together name different digests
  > record the evidence again in one go: countersign repro --force {stages}
MODEL_UNKNOWN (never waived): policy gives this model no tier, so it sets no requirements for it
  > policies/policy.yaml: models.{name}: tier, purpose, region
RATERS_LEFT_OUT: the raters whose ratings were left out are not those that policy in force excludes
  > policies/policy.yaml: ingest.excluded_raters.{name}, or run again: countersign repro
RATERS_AGREE_TOO_LITTLE: the raters whose votes made these pairs agree too little, or on too few
  > look at the guideline they had, and at each rater (`countersign agreement`); have more rated
FIELDS_NOT_PERMITTED: fields of the source were left out that policy does not permit to leave out
  > policies/policy.yaml: ingest.ignored_fields.{name}; or use them (params.yaml: datasets.{name},
  `fields` or `slices`), then: countersign repro ingest@{name}
KIND_UNFIT: the method cannot train on records of this kind
  > params.yaml: stages.{name}: another `data` or another `method`
SCAN_NOT_PASSED: the PII scan refused these records
  > read reports/scan_pii/{name}/report.md, mend the source or policies/pii.yaml, then `dvc repro`
SCAN_OUT_OF_DATE: these records were scanned under another policies/pii.yaml than the one in force
  > countersign repro scan_pii@{name} check_quality@{name}
PII_REMAINING: personal data remains that policy does not allow
  > policies/pii.yaml: entities.{entity}.action: redact or drop it, or allow it with a reason
ALLOWANCE_ENDED: the scan kept findings by an entry of the allow-list that has ended
  > policies/pii.yaml: allowances: remove the entry or renew it, then: countersign repro
  scan_pii@{name} check_quality@{name}
NER_REQUIRED: policy demands a named-entity model, and the scan used a list of names
  > policies/pii.yaml: set `ner` to spacy:<folder> or transformers:<folder>, then `dvc repro`
RECALL_NOT_MEASURED: policy demands a minimum recall that this scan did not measure
  > countersign repro scan_pii@{name} check_quality@{name}; or policies/pii.yaml: minimum_recall
RECALL_TOO_LOW: the scan finds fewer of the planted values than policy demands
  > policies/pii.yaml: ner, threshold, recognizers; what is demanded stands under minimum_recall
QUALITY_NOT_PASSED: the quality gate refused these records, or a critical expectation failed
  > read reports/check_quality/{name}/report.md, mend the source or the suite, then `dvc repro`
SUITE_OUT_OF_DATE: these records were checked with a quality suite that is not in force, or in part
  > countersign repro check_quality@{name}
SUITE_NOT_DECLARED: these records were checked with another quality suite than their datacard names
  > params.yaml: datasets.{name}.suite, then `dvc repro`; or policies/datacards/{name}.yaml: suite
HELD_OUT_UNCHECKED: these records were not searched for leaks into the evaluation dataset
  > params.yaml: datasets.{name}.held_out: {suite}
TASK_NOT_SCANNED: the files of a task of lm-evaluation-harness were not searched for personal data
  under the policy in force
  > countersign repro scan_task
OTHER_NAME_WITHDRAWN: the same bytes were retired or rejected under another model name
  > settle what people have against {name}, or release other bytes
ERASED_DATA_USED (never waived): the data was ingested without the exclusions of an erasure
  > restore policies/exclusions.jsonl, then: countersign repro; where that reads nothing again:
  countersign repro --force ingest@{name}
ERASURE_OVERDUE: the version has seen records that were to be erased, and the deadline is over
  > release a version that was trained without them, or: countersign retire {model}/{version}
RECORDS_TWICE: another dataset behind the model holds the same records under another name
  > train on {name} or on {other}, not on both: params.yaml: stages
SUITE_TRAINED_ON (never waived): a suite holds, under another name, records that were trained on
  > evaluate on other records than {name}, or train without it: params.yaml: stages
DATACARD_MISSING: nobody has declared origin, licence, lawful basis and the rest of this dataset
  > write policies/datacards/{name}.yaml (`countersign add FILE` writes one with blanks)
DATACARD_INCOMPLETE: the datacard has blanks
  > policies/datacards/{name}.yaml: fill in the fields
DATACARD_EXPIRED: the retention period that the datacard declares is over
  > erase the data, or have the steward renew policies/datacards/{name}.yaml: retention.until
PURPOSE_NOT_PERMITTED: the datacard does not permit the model's purpose
  > use other data, or have the steward change policies/datacards/{name}.yaml: purposes
REGION_NOT_PERMITTED: the datacard does not permit the region where the model is made
  > use other data, or have the steward change policies/datacards/{name}.yaml: regions
CLASSIFICATION_NOT_PERMITTED: the model's tier does not permit data of this classification
  > use other data, or policies/policy.yaml: tiers.{tier}.classifications
LICENCE_NOT_PERMITTED: policy does not permit the licence of this dataset or base model
  > use another one, or policies/policy.yaml: licences
SOURCE_CHANGED: the source that was read is not the one that the datacard pins
  > check the new source, then policies/datacards/{name}.yaml: source_sha256: {source}
GUIDELINE_DIFFERS: the raters' guideline that was read is not the one that the datacard declares
  > correct policies/datacards/{name}.yaml, or read again: dvc repro --force -s ingest@{name}
SOURCE_UNPINNED: the model's tier demands that the datacard pins its source
  > policies/datacards/{name}.yaml: source_sha256: {source}
BASE_NOT_ALLOWED: policies/bases.yaml does not allow this base model
  > review it, then: countersign allow-base {name} --licence SPDX-ID
BASE_CHANGED (never waived): policy allows a base of this name with other bytes
  > bring back the allowed bytes, or review the new: countersign allow-base {name} --licence SPDX-ID
IMPORT_NOT_ALLOWED (never waived): the tier permits no model that was trained elsewhere
  > train it here, or policies/policy.yaml: tiers.{tier}.imported: true
IMPORT_NOT_DECLARED (never waived): nobody has declared how this model was trained elsewhere
  > countersign allow-base {name} --licence SPDX-ID --declared-by PERSON, then fill in the file
IMPORT_DATA_UNKNOWN: the declaration of a model that was trained elsewhere leaves its data unknown
  > ask its maker, then policies/imports/{name}.yaml
IMPORT_TRAINED_BEFORE: the tier wants approvals before training, and it was trained elsewhere
  > countersign waive --finding IMPORT_TRAINED_BEFORE, where policy permits; or train it here
UNSAFE_FILES (never waived): the model folder holds files that can run code, or that nobody knows
  > use a revision with safetensors weights and without code
GATE_MISSING (never waived): no decision allowing its training stands before it in the log
  > train it again behind its gate: countersign repro --force gate@{name} train@{name}
THRESHOLDS_MISSING: policy sets no thresholds for this evaluation and does not say why
  > policies/evaluation.yaml: suites.{suite}.methods.{method}
THRESHOLD_NOT_MET: the score misses its threshold
  > improve {name} or its data; policies/evaluation.yaml: suites.{suite}.methods.{method}
SLICE_NOT_MET: the score of the worst slice misses its threshold
  > improve {name} or its data; policies/evaluation.yaml: suites.{suite}.methods.{method}
WORSE_THAN_REFERENCE: worse on the same items than base, parent or champion, beyond policy's margin
  > improve {name} or its data; policies/evaluation.yaml: suites.{suite}.methods.{method}
NOT_COMPARABLE: the reference has no evaluation with the same items, so it cannot be compared
  > evaluate both on the same suite: countersign repro --force evaluate@STAGE
EVALUATION_INCOMPLETE: a metric with a threshold is absent, lacks scores or has too few items
  > params.yaml: suites.{suite} (metrics, limit), then: countersign repro {stage}
EVALUATION_OUT_OF_DATE: the model was evaluated on another suite than is defined now or pinned
  > countersign repro --force {stage}
METRIC_CHANGED: a metric was scored by another function than the one that policy names
  > review the function, then policies/evaluation.yaml: suites.{suite}.sources
DEGENERATE_OUTPUT: answers to held-out prompts are degenerate: empty, cut off, repeated, all the
  same, or independent of the prompt
  > look at answers of {name}, then at its rewards and learning rate (docs/reward-hacking.md);
  limits: policies/evaluation.yaml: behaviour
REWARD_MODEL_NOT_BETTER: a reward model ranks answers no better than chance, or than their length
  > params.yaml: stages.{name}: more or other pairs, more steps, another parent
SCORER_WITHDRAWN: the reward model behind it was retired or rejected, or has an open incident
  > train {stage} again with another scorer, or settle what people have against {name}
PARENT_WITHDRAWN: the model it was trained from was retired or rejected, or has an open incident
  > train {stage} again from another model, or settle what people have against {name}
RANKED_BY_LENGTH: a reward model ranks by the length of answers, or its suite cannot tell
  > give {suite} and the training pairs in which the better answer is not the longer or shorter one;
  limit: policies/evaluation.yaml: behaviour.ranked_by_length
OVER_OPTIMISED: the training went too far from its parent, or its rewards rose while quality fell
  > params.yaml: stages.{name}.trainer: a higher `beta`, a lower `learning_rate` or fewer steps;
  limits: policies/evaluation.yaml: behaviour
REWARD_HACKED: the rewards of its training rose while the form of the answers collapsed
  > params.yaml: stages.{name}.rewards: add one that the shortcut does not satisfy; raise `beta`
NO_LEARNING_SIGNAL: all answers of nearly every group got the same reward, so nothing was learnt
  > params.yaml: stages.{name}: another reward, easier or harder prompts, a higher `temperature` or
  more `num_generations`
LEAKS_NOT_MEASURED: policy wants a leak probe of this training, and there is none that suffices
  > params.yaml: leak_probes: a row with model {name}; stages.{name}.canaries for limits of
  canaries, `splits` of its dataset for those of membership (docs/leak-probe.md); then: countersign
  repro
TRAINING_DATA_LEAKS: the model gives away more of its training data than policy permits
  > params.yaml: stages.{name}.trainer: fewer passes or a lower `learning_rate`; remove duplicates;
  limits: policies/evaluation.yaml: leaks (docs/leak-probe.md)
OBJECTIVE_UNKNOWN: the objective or a reward function has no digest
  > params.yaml: stages.{name}: `method`, `trainer` and `rewards`
REWARD_NOT_PERMITTED: policy does not list these reward functions
  > policies/policy.yaml: rewards
APPROVAL_MISSING (never waived): too few people have approved it
  > the people it names run: countersign approve
SEPARATE_EVALUATOR: the tier demands an evaluation signed by another key than the trainer's
  > with another COUNTERSIGN_SIGNER: countersign repro --force {stage}
ALIAS_NOT_PERMITTED (never waived): the evidence does not suffice for a governed alias
  > `candidate` is what evidence alone can give
LAWFUL_BASIS_NOT_PERMITTED: policy does not accept the lawful basis that the datacard declares
  > use other data, or policies/policy.yaml: lawful_bases
SUITE_UNPINNED: the tier demands that policy pins the suite by digest
  > policies/evaluation.yaml: suites.{name}.digest: {digest}
RECORDS_NOT_USED: a training left out or cut more of its records than policy permits
  > params.yaml: stages.{name}.trainer.max_length; or drop long records in the quality suite
RECORDS_NOT_COUNTED: a training does not say how many of its records it used
  > train it again: countersign repro --force train@{name}

CONSTITUTION_MISSING: policy has no such constitution
  > policies/constitutions/{name}.yaml: title, principles
CONSTITUTION_CHANGED: data was generated by another version of the constitution than is in force
  > countersign repro generate@{stage}
ENDPOINT_NOT_PERMITTED: policy does not permit to send these texts to this endpoint
  > policies/policy.yaml: endpoints.{name}: url, model, classifications, region; or use a model of
  the project
JUDGE_NOT_CHECKED: the judge of generated data or of an evaluation has no card in the log at hand
  > params.yaml: judges: a row for this judge, and `checked` in the row that it judges for; then:
  countersign repro --force check_judge@{row}
JUDGE_CARD_EXPIRED: the card of the judge had ended when it judged
  > countersign repro --force check_judge@{row}
JUDGE_FAILED: the judge did not pass its own check, so nothing that it judged counts
  > judges/{row}/card.json has the figures; use another judge or other words, policies/constitutions
JUDGE_OPTIMISED_FOR: the judge is the reward model that what it judged was optimised with, or judged
  the training data behind it, so no figure of the suite is shown
  > params.yaml: judges: a row with another judge, and name it in judged.{judged}; then: countersign
  repro
GENERATED_NOT_DECLARED: the datacard does not say which model generated the data
  > policies/datacards/{name}.yaml: generated_by: {generator}

# Stages that stop
NOTHING_GENERATED (never waived): no answer of a `generate` stage could be kept
  > look at the reasons; use another generator or judge, longer answers, or other principles
NON_FINITE (never waived): a figure of the run is not a finite number, so nothing of it is published
  > look at the rows that the terminal named; set a lower learning_rate, or use other data
REWARD_FAILED (never waived): a reward function raised, or gave what is no score
  > correct the function; `make test` of a project calls each of its functions
REWARD_REACHED_OUT (never waived): a project's reward function asked for more than its arguments
  > take that out of the function: it may use no network, no other process or thread, and no file
TOOL_REACHED_OUT (never waived): a tool that the model called asked for more than its arguments
  > take that out of the tool: it may use no network, no other process or thread, and no file
MODEL_UNCHANGED (never waived): the training left every weight of its parent as it was
  > set a higher learning_rate or more steps, and look whether its gradients are zero

# Reading
READ_NOT_ALLOWED (never waived): policy does not let the reader read this content
  > policies/policy.yaml: readers; a policy owner proposes who may: countersign policy propose

# Rows left out at ingest (information)
  > mend it in the source, or permit the row's loss in policies/policy.yaml: ingest
ROW_UNREADABLE: the row is not valid JSON, is nested too deeply, or has other fields than its header
ROW_NOT_OBJECT: the row is not an object with fields
ROW_TOO_LONG: the row has more characters than a record may have (16 Mi)
ROW_ENCODING: bytes of the row are not valid text in the dataset's encoding
  > set `encoding` of the dataset in params.yaml (e.g. cp1252), or mend the row in the source
KEY_REPEATED: a key stands twice in one object
FIELD_MISSING: a field is missing that other rows have
FIELD_NOT_TEXT: a field is not text
MESSAGES_MALFORMED: the conversation is no list of messages, is empty, or lacks the last answer
ROLE_UNKNOWN: a message's role is none of user, assistant, system and tool
  > rename the role in the source, or add it to ROLE_NAMES in pipelines/sources/messages.py
TOOL_CALL_MALFORMED: a call of a tool has no name, or arguments that are no JSON object
TOOL_CALL_UNMATCHED: a tool's answer has no call before it, or two calls have one id
TOOL_SCHEMA_MALFORMED: the tools are no list of function schemas with names
  > mend them; if the field is something else: params.yaml: datasets.{name}.fields: {{tools: ""}}
EXTRA_NOT_JSON: an extra column has a value that JSON does not have
MEDIA_NOT_SUPPORTED: the row has images, sound or video; only text can be trained on
  > take rows of text alone; if the text needs no image, remove image fields and parts of the source
FIELDS_LOST: the source has fields that no record would keep
  > params.yaml: datasets.{name}: `fields` to use them, `slices` to report by them; or permit to
  leave them out, policies/policy.yaml: ingest.ignored_fields.{name}
LABEL_NOT_BOOLEAN: the label is neither true nor false
RATING_INVALID: a rating is not finite, names one rater twice or an absent answer, or there is none
TURNS_UNANSWERED: the turns are no list of texts, or several without the answers between them
  > take the first turn alone: in params.yaml give the dataset `fields: {{prompt: turns.0}}`
PROMPT_MISMATCH: chosen and rejected differ before the last answer
  > nothing, unless there are many: then look at how the pairs were made
NO_COMPARISON: there is nothing to compare: one answer, two equal ones, or no preference
  > nothing, unless there are many: then look at how the answers were collected

ERASED: the record was erased on request (policies/exclusions.jsonl)
  > nothing; docs/erasure.md

# PII scan and quality gate
PII_BLOCKED: the scan found personal data that policies/pii.yaml blocks
  > remove it from the source (records: reports/scan_pii/{name}/report.json); a secret must also be
  revoked
QUALITY_CHECK_CRASHED: an expectation could not be judged, so it does not pass
  > policies/quality/SUITE.yaml: mend the expectation, or take it out
EXPECTATION_NOT_MET: an expectation of the suite in Great Expectations' format is not met
  > look at its records in reports/check_quality/{name}/report.md; mend the source, or the suite
TOO_FEW_RECORDS: fewer records are left than the suite requires
  > read what was left out and why in reports/check_quality/{name}/report.md; bring more data, or
  change the suite
LABELS_UNBALANCED: wanted and unwanted answers are not in the proportion the suite asks for
  > bring more of the rarer label, or change the suite
AGREEMENT_TOO_LOW: agreement between raters (Krippendorff's alpha) is too low or cannot be computed
  > look at the guidelines raters had; have records rated again, or leave out the raters who differ
ONE_ANSWER: most records have one and the same answer, which a model would learn for every question
  > look at the source: how was the answer made? If it is meant, change the suite
NEAR_HELD_OUT: too many records ask a held-out question in which one word or the numbers are changed
  > take them out of the source, or bring other held-out questions; docs/quality.md
LENGTH_BIAS (information): the chosen answer is mostly the longer one, or mostly the shorter
  > bring pairs that balance it, or accept it: by default the suite only reports it

# Records left out by the scan and the quality gate (information)
  > nothing, unless there are many: then look at how the data was made
PII_DROPPED: the record holds personal data that policies/pii.yaml drops
  > nothing, or redact instead: policies/pii.yaml, entities
PII_UNSCANNED: the record could not be searched to the end
  > look at the record: it is most likely no text; or mend the pattern in policies/pii.yaml,
  recognizers
EMPTY_TEXT: a message or reference answer is empty
NOT_TEXT: the text has control characters, or U+FFFD where bytes were lost
  > convert the source again from its original encoding
ROLES_OUT_OF_ORDER: the roles of the messages are out of order
  > mend the conversation in the source
DUPLICATE: an earlier record says the same, case and white space aside
NEAR_DUPLICATE: an earlier record shares most of its word triples (MinHash)
  > nothing, or change near_duplicate_similarity in the suite
LEAK_HELD_OUT: the record asks what a held-out record asks, or quotes it
LEAK_SPLIT: a training record asks what a validation or test record of the same dataset asks
CHOSEN_EQUALS_REJECTED: both answers are the same
CONTRADICTED: an earlier record judges the same answers to the same prompt the other way round
  > decide which is right in the source; the first one is kept
TOO_LONG: the record has more characters than the suite permits
  > shorten it in the source, or change the suite
TOO_SHORT: the record, or an answer of it, is shorter than the suite permits
  > nothing, or change the suite
ANSWER_MISSING: the record has no reference answer to compare the model's answer with
  > add the answer in the source, or name its field in params.yaml: datasets.DATASET.fields
NO_OUTPUT: the answer only says that there is none, as "N/A" does
TOOL_CALL_INVALID: a call names a tool that the record does not offer, or does not fit its schema
  > mend the call in the source, or add the tool to `tools`
WRONG_SUM: a sum in the answer does not come out
  > mend the answer in the source
PREFERENCE_CYCLE: the preferences of one prompt go round in a circle: a over b, b over c, c over a
  > decide which is right in the source
NEAR_CONTRADICTED: the same, punctuation aside, was judged the other way round before
  > decide which is right in the source
ANSWER_DIFFERS: the worked solution ends in another result than the reference answer
  > find out which is right, and mend it in the source
RESULT_DISPUTED: answers to one question that count as right name different results
  > find out which is right, and mend the label or the answer in the source
ANSWERS_ALIKE: the chosen and the rejected answer have nearly the same words
  > nothing, if the difference is what the pair is to teach; else take it out of the source
TRUNCATED_ANSWER: the answer seems cut off
  > make the answers again with room for their end
REFUSAL: the answer begins like a refusal
MISSING_INPUT: the question speaks of a text that the record does not hold
MERGED_INSTRUCTIONS: the answer goes on with another instruction
UNUSABLE_LINK: the question asks for an image, a file or a web page that a text does not hold
CODE_MISSING: the question asks for code and the answer has none
MIXED_FORM: the answers have many forms: small letters, marks at the end, Markdown
WRONG_LANGUAGE: the text is not in the language the suite names
  > nothing, or change `language` in the suite
TOO_FEW_RATERS: fewer people rated the record than the suite asks for
  > have it rated again
RATER_EXCLUDED: all ratings of the record are by raters whom policy excludes
  > have it rated again
RATERS_DISAGREE: too few raters of this record agree
  > have it rated again, or leave it out

# Raters and their agreement (information)
  > look at ratings of theirs; compute agreement without them: --exclude RATER
RATER_DISAGREES: the rater disagrees with everyone, and the others agree with each other
RATER_SAME_ANSWER: the rater always gives the same answer where others do not
RATER_FOLLOWS_POSITION: the rater chooses by the place of an answer
  > have the items rated again in the other order, or compute without them: --exclude RATER
RATER_TOO_FAST: the rater answers much faster than the others on the same items
RATERS_COPY: two raters agree more than their agreement with the others explains
  > look at ratings of both; compute agreement without them: --exclude RATER,RATER
GUIDELINE_DRIFTS: the ratings of a batch mean something else than those of the batches before
  > look at the guideline of this batch and at ratings made with it; have some rated again
PREVALENCE_PARADOX: raters nearly always agree, and alpha is low since one rating is so common
  > read AC1 beside alpha, and rate more items that may have a rare answer (docs/raters.md)
CONSTANT_ANSWER_WINS: a model that gives one answer to every question wins comparisons
  > do not rely on this judge; look at the answer and at what the judge is told (docs/judging.md)

# People and governed aliases
POLICY_NOT_SIGNED (never waived): the policies in force were not signed by a quorum of their owners
  > countersign policy sign, by each owner
WITNESSES_MISSING (never waived): too few witnesses have cosigned the log of late
  > see that the log reaches its witnesses: countersign witness request, on the log's machine
REQUESTER_UNKNOWN: no authenticated person asked for these runs
  > countersign authorize, then countersign repro --force with COUNTERSIGN_REQUESTER set to that
  person
ALIAS_UNKNOWN (never waived): policy has no rule for this alias, so nobody may request it
  > policies/policy.yaml: aliases.{name}
REQUEST_MISSING (never waived): nobody has asked for this move
  > countersign {asking}
REQUEST_NOT_ENTITLED (never waived): the person who signed the request may not ask for this move
  > a person in that role asks for it
REQUEST_MISMATCH (never waived): the request is for something else
  > sign a request for this move: countersign promote {model}/{version} --to {alias}
REQUEST_CONFLICT (never waived): the alias has moved since it was asked for
  > look at who holds it (countersign live {model}), then ask again
REQUEST_EXPIRED (never waived): the request is not open at this time
  > sign a new one: countersign promote {model}/{version} --to {alias}
REQUEST_SPENT (never waived): this request was carried out already; a request counts once
  > sign a new one: countersign promote {model}/{version} --to {alias}
PACKET_MISSING (never waived): the log has no packet of it, so nobody can approve it
  > countersign freeze {model}/{version}
PACKET_OUT_OF_DATE (never waived): what the release rests on changed since the packet was frozen
  > countersign freeze {model}/{version}, and have it approved again
REJECTED (never waived): a person whose role may approve has rejected this packet
  > mend what they name, or that person approves it
WAIVER_NOT_IN_FORCE (never waived): a waiver does not count
  > mend it, or: countersign waive --finding {finding}
INCIDENT_OPEN: an incident is open
  > countersign incident close {model}/{version}, by another person than the requester
INCIDENT_NOT_CLOSED: an incident was closed by somebody who may not close it
  > countersign incident close {model}/{version}, by somebody whom policy permits
INCIDENT_NOT_CHECKED: an incident was closed and nobody checked that the actions were effective
  > countersign incident close {model}/{version} --effective "what was measured, and the result"
INCIDENT_INCOMPLETE: an incident was closed and its record lacks what policy demands
  > countersign incident close {model}/{version}, with --severity, --cause or --action
REVIEW_OVERDUE: the date by which a version in use was to be reviewed again is over
  > countersign periodic-review {version}
REVIEW_LAPSED (never waived): the days of grace for the review of a version in use are over
  > countersign periodic-review {version}
REVIEW_STOPS_SERVING (never waived): the days of grace for a review are over, and policy stops
  serving the version
  > countersign periodic-review {version}, or promote or roll back to another version
CANARY_MISSING: the tier demands a passed canary, and none is recorded
  > countersign rollout request {model}/{version}; or countersign waive --finding CANARY_MISSING,
  where policy permits
MONITORING_BREACHED: in service, the version did not keep a limit that policy sets
  > find the cause, and open an incident where users are concerned: countersign incident open
  {model}/{version}; the finding ends when later windows keep the limit
ERROR_BUDGET_SPENT: more requests to the version failed than policy allows over its period
  > find the cause, and open an incident where users are concerned: countersign incident open
  {model}/{version}; the finding ends when its period has enough requests that succeed
DRIFT_FOUND: in service, what the version gets, answers or hears has changed since its beginning
  > find the cause in the windows since then; if the change is accepted, policies/policy.yaml:
  monitoring.beginning, the day from which windows are its new beginning
COMMIT_NOT_PERMITTED: policy does not name the commit of the code that made or evaluated it
  > run it from a permitted commit, or policies/policy.yaml: commits
BUILDER_NOT_PERMITTED: policy does not name the service that made or evaluated it as a builder
  > run it on the machine of a permitted service, or policies/policy.yaml: builders
NEVER_RELEASED (never waived): no decision ever gave it this alias
  > countersign promote {model}/{version} --to {alias}
ROLLBACK_TARGET (never waived): a rollback goes to the last earlier version against which nothing is
  open
  > countersign rollback {model} names it; to move forward: countersign promote
REGISTERED_TWICE (never waived): this version was registered with different bytes
  > policy owners say which stands: countersign approve registration DIGEST
RETIRED (never waived): a signed decision took these bytes out of service
  > release another version: countersign promote {model}/{version} --to {alias}
DECISION_NOT_REPRODUCED: a governed alias moved by an entry that the rules do not give
  > treat the service's key as lost: countersign revoke, then countersign rollback
SECOND_SIGNATURE_OVERDUE: a move made by one person alone lacks its second signature
  > countersign approve promotion {request}, by somebody else

# Rollouts (never waived)
ROLLOUT_NOT_PERMITTED: the request asks for more than policy permits
  > ask for less, or policies/policy.yaml: rollouts
ROLLOUT_VERSION: one of the versions is not what the request says
  > ask for another rollout: countersign rollout request {model}/{version}
ROLLOUT_INCIDENT: an incident of the new version is open
  > countersign incident close {model}/{version}
ROLLOUT_NOT_DECIDED: a release of the new version is refused for more than its missing canary
  > countersign promote {model}/{version} --to {alias} --dry-run lists the reasons
ROLLOUT_UNKNOWN: the log has no such request for a rollout of this version
  > countersign rollout status {model}
ROLLOUT_ROLE: the request does not permit this role to start or widen the rollout
  > somebody whom the request names does it
ROLLOUT_SAME_PERSON: a live rollout is started by another person than the one who asked for it
  > countersign rollout widen {model}/{version}, by somebody else
ROLLOUT_OTHER_OPEN: another rollout of this alias is open
  > countersign rollout status {model}
ROLLOUT_NOT_OPEN: the rollout is not in a state that permits this
  > countersign rollout status {model}
ROLLOUT_OUT_OF_TURN: it is not the next step or window of the rollout
  > countersign rollout status {model}
ROLLOUT_HARMFUL: a guardrail is worse by more than its margin
  > countersign rollout abort {model}/{version} --reason ...
ROLLOUT_SAMPLE: too little was observed at the present share
  > wait for more observations: countersign rollout status {model}
ROLLOUT_NOT_PROVEN: it is not yet shown that the new version is within its margins
  > wait for more observations: countersign rollout status {model}
ROLLOUT_WINDOW: what was observed contradicts the request or an earlier window
  > compare the figures with countersign rollout status {model}

# Serving (never waived)
ALIAS_NOT_HELD: no version holds the alias that is served
  > countersign promote MODEL/VERSION --to {alias}
LOG_NOT_REACHED: the log could not be read for longer than policy allows
  > let the serving machine reach the log (COUNTERSIGN_LOG); policies/policy.yaml: serving
LOG_NOT_VERIFIED: the log that the serving process follows does not verify
  > countersign verify, on the serving machine; it serves again when the log verifies
BACKEND_NOT_READY: the inference server of the version does not answer yet, or no longer
  > try again in some seconds; the output of countersign serve has the reason

# Registry
  > find out who wrote the registry's database past the server; then put the row back as the log has
  it, or promote anew: countersign history MODEL
REGISTRY_ALIAS_MOVED: the registry gives the alias to another version than the log's last decision
REGISTRY_ALIAS_UNKNOWN: a governed model has an alias that no policy in force names
  > remove it, or have policies/policy.yaml changed and signed
REGISTRY_VERSION_MISSING: the log has this version, and the registry does not
  > restore the registry's database and files from a backup; the log's entries stay
REGISTRY_VERSION_UNKNOWN: the registry has this version, and no registration or call in the log
  > if a registration was cut off, `countersign repro` finishes it; otherwise find out who made it
REGISTRY_SOURCE_CHANGED: the registry names another run or folder than was registered
REGISTRY_DIGEST_CHANGED: the version's tag has another digest than its registration
REGISTRY_STAGE_SET: a governed version has one of MLflow's stages, which have no meaning here
REGISTRY_RUN_MISSING: the run from which a governed version was registered is deleted
  > restore it (mlflow runs restore), or the registry's database from a backup
REGISTRY_LOOKALIKE: the name could be taken for that of a governed model
  > delete that model; nothing governed is in it
"""


def read_table(table: str) -> Iterator[tuple[str, Code]]:
    """The codes of a table. Raises `ValueError` for an entry that is none."""
    section, section_flags, section_step = "", "", ""
    for block in re.split(r"\n+(?! )", table.strip()):
        head, _, step = (" ".join(block.split())).partition(" > ")
        entry = _ENTRY.fullmatch(head)
        if entry is None or entry["name"].startswith("# ") == bool(entry["text"]):
            raise ValueError(f"not an entry of the table of findings: {head}")
        flags = entry["flags"] or ""
        if not entry["text"]:
            section, section_flags, section_step = entry["name"][2:], flags, step
            continue
        if not (step or section_step):
            raise ValueError(f"not an entry of the table of findings, without a step: {head}")
        flags = f"{flags}, {section_flags}"
        yield (
            entry["name"],
            Code(
                sentence=entry["text"],
                step=step or section_step,
                blocking="information" not in flags,
                section=section,
                waivable="never waived" not in flags,
            ),
        )


CODES: dict[str, Code] = dict(read_table(_TABLE))
NEVER_WAIVED = frozenset(code for code, entry in CODES.items() if not entry.waivable)
"""Codes that no waiver passes."""
