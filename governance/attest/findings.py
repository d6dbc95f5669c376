"""Every finding code of the project: what it says, what to do about it, whether it stands in the
way.

One table. A code is stable: reports, waivers and other people's scripts name it, so it is never
renamed or used for something else. `docs/findings.md` is generated from here (`python -m
governance.policy.publish`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from governance.attest.predicates import Finding


@dataclass(frozen=True)
class Code:
    """One kind of finding."""

    title: str
    meaning: str
    next: str
    """What mends it, in general; a finding names the file and field, or the command."""
    blocking: bool = True
    """False where it is information, or the reason of an excluded record that stops nothing by
    itself.
    """
    section: str = "Gate and release"


CODES: dict[str, Code] = {}


def finding(
    code: str,
    subject: str,
    message: str,
    *,
    expected: str = "",
    found: str = "",
    next: str = "",
    figures: Iterable[str] = (),
) -> Finding:
    """A finding of a code that is in the table; its general next step where none is given.

    The sentences may be reworded at any time: nothing compares them. What a waiver of this finding
    accepts must stand in `figures`.
    """
    return Finding(
        code=code,
        subject=subject,
        message=message,
        expected=expected,
        found=found,
        next=next or CODES[code].next,
        figures=list(figures),
    )


_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.-])")


def figures_of(one: Finding) -> list[str]:
    """What a finding measured. Findings logged before `figures` existed have it in `found` only."""
    return one.figures or _NUMBER.findall(one.found)


def same_reason(one: Finding, other: Finding) -> bool:
    """Whether two findings give the same reason, whatever their words; figures count where both
    have them.
    """
    figures_agree = not (one.figures and other.figures) or one.figures == other.figures
    return (one.code, one.subject) == (other.code, other.subject) and figures_agree


def same_exception(one: Finding, other: Finding) -> bool:
    """Whether somebody who accepted the one has accepted the other: the same reason, and it goes
    as far.
    """
    return same_reason(one, other) and figures_of(one) == figures_of(other)


def not_among(these: Sequence[Finding], others: Sequence[Finding]) -> list[Finding]:
    """The findings for which `others` has none of the same reason."""
    return [one for one in these if not any(same_reason(one, other) for other in others)]


def same_reasons(these: Sequence[Finding], others: Sequence[Finding]) -> bool:
    """Whether both give the same reasons, whatever their words and order."""
    return not not_among(these, others) and not not_among(others, these)


# -- Gate and release: governance.gates.decisions --------------------------------------------------
CODES["CHECK_CRASHED"] = Code(
    "A check could not be carried out",
    "A check of the decision raised an error. What cannot be checked is denied.",
    "run the command again with --debug; if it is a fault of Countersign, report it",
)
CODES["EVIDENCE_MISSING"] = Code(
    "Evidence is missing",
    "The log at hand has no acceptable statement about these digests: none was recorded here, it"
    " was signed by a key that policy does not let sign that kind, or it was recorded after the"
    " fact.",
    "join the log that has it (COUNTERSIGN_HOME or COUNTERSIGN_LOG), or make it again: countersign"
    " repro --force STAGE",
)
CODES["EVIDENCE_INCONSISTENT"] = Code(
    "Evidence does not agree with itself",
    "Two statements that belong together name different digests, or a statement says of its stage"
    " what its gate did not decide on.",
    "make the stage again, so that its evidence is recorded in one go: countersign repro --force"
    " STAGE",
)
CODES["MODEL_UNKNOWN"] = Code(
    "The model has no tier",
    "The name under which the result is released is not in `policies/policy.yaml`, so nobody has"
    " said what must hold for it.",
    "policies/policy.yaml: add the model and its tier under `models`",
)
CODES["KIND_UNFIT"] = Code(
    "The dataset's kind does not fit the method",
    "The method cannot train on records of this kind.",
    "params.yaml: give the stage another `data` or another `method`",
)
CODES["SCAN_NOT_PASSED"] = Code(
    "The PII scan did not pass",
    "The scan of these records was refused.",
    "read reports/scan_pii/DATASET/report.md, mend the source or policies/pii.yaml, then `dvc"
    " repro`",
)
CODES["SCAN_OUT_OF_DATE"] = Code(
    "The PII scan was made under another policy",
    "The scan's configuration is not the `policies/pii.yaml` in force.",
    "scan again under the policy in force: dvc repro scan_pii@DATASET",
)
CODES["PII_REMAINING"] = Code(
    "Personal data remains that policy does not allow",
    "The scan of what was written found entities whose action is not `allow`.",
    "policies/pii.yaml: redact or drop the entity, or allow it with a reason",
)
CODES["NER_REQUIRED"] = Code(
    "Names were searched for without a model",
    "Policy demands a real named-entity model; the scan used a name list.",
    "policies/pii.yaml: set `ner` to spacy:<folder> or transformers:<folder>, then `dvc repro`",
)
CODES["RECALL_NOT_MEASURED"] = Code(
    "Nobody knows how much the PII scan finds",
    "Policy demands a least recall, and the scan's evidence has none for these kinds of personal"
    " data: it was made before recall was measured, nothing searches for them, or there are no"
    " made-up values of them.",
    "scan again: dvc repro scan_pii@DATASET; or policies/pii.yaml: minimum_recall",
)
CODES["RECALL_TOO_LOW"] = Code(
    "The PII scan finds too little",
    "Of the made-up values planted in the dataset's own texts, the search found fewer than policy"
    " demands: the lower end of the 95% interval is below `minimum_recall`.",
    "policies/pii.yaml: a real model (`ner`), another threshold or a pattern of your own, then `dvc"
    " repro`",
)
CODES["QUALITY_NOT_PASSED"] = Code(
    "The quality suite did not pass",
    "The quality gate refused these records, or a critical expectation of it failed.",
    "read reports/check_quality/DATASET/report.md, mend the source or the suite, then `dvc repro`",
)
CODES["SUITE_OUT_OF_DATE"] = Code(
    "The records were held against another quality suite",
    "The suite in the evidence is no suite of `policies/quality/` in force for this kind of"
    " dataset, or an expectation of it was left out.",
    "hold them against the suite in force: dvc repro check_quality@DATASET",
)
CODES["SUITE_NOT_DECLARED"] = Code(
    "The records were held against another suite than their datacard names",
    "params.yaml chose a quality suite, and the datacard under `policies/` names another one: the"
    " datacard decides.",
    "params.yaml: set the dataset's `suite` to that of its datacard, then `dvc repro`",
)
CODES["HELD_OUT_UNCHECKED"] = Code(
    "No leak check against the evaluation dataset",
    "The records were not searched for leaks into the dataset on which this stage's result is"
    " evaluated.",
    "params.yaml: set the dataset's `held_out` to the stage's `suite`, then `dvc repro`",
)
CODES["DATACARD_MISSING"] = Code(
    "The dataset has no datacard",
    "Nobody has declared origin, licence, lawful basis and the rest of this dataset.",
    "write policies/datacards/DATASET.yaml (`countersign add FILE` writes one with blanks)",
)
CODES["DATACARD_INCOMPLETE"] = Code(
    "The datacard has blanks",
    "Fields that must be declared before anything trains are empty.",
    "policies/datacards/DATASET.yaml: fill in the fields",
)
CODES["DATACARD_EXPIRED"] = Code(
    "The data may no longer be kept",
    "The retention period that the datacard declares is over.",
    "erase the data, or renew the basis and set `retention.until` in"
    " policies/datacards/DATASET.yaml",
)
CODES["PURPOSE_NOT_PERMITTED"] = Code(
    "The data was not collected for this purpose",
    "The model's purpose is not among those the datacard permits.",
    "use other data, or have the steward add the purpose to policies/datacards/DATASET.yaml:"
    " purposes",
)
CODES["REGION_NOT_PERMITTED"] = Code(
    "The data may not be processed in this region",
    "The region where the model is made is not among those the datacard permits.",
    "use other data, or have the steward add the region to policies/datacards/DATASET.yaml:"
    " regions",
)
CODES["CLASSIFICATION_NOT_PERMITTED"] = Code(
    "The data's classification is too high",
    "The model's tier does not permit data of this classification.",
    "use other data, or policies/policy.yaml: tiers.TIER.classifications",
)
CODES["LICENCE_NOT_PERMITTED"] = Code(
    "The licence is not permitted",
    "The licence of a dataset or base model is not in policy's list.",
    "use something else, or policies/policy.yaml: licences",
)
CODES["SOURCE_CHANGED"] = Code(
    "The source is not the one declared",
    "The datacard pins the source's sha256, and the ingested source has another.",
    "check the new source, then set source_sha256 in policies/datacards/DATASET.yaml",
)
CODES["SOURCE_UNPINNED"] = Code(
    "The source is not pinned",
    "The model's tier demands that the datacard names the sha256 of the source.",
    "policies/datacards/DATASET.yaml: set source_sha256 to the digest found",
)
CODES["BASE_NOT_ALLOWED"] = Code(
    "The base model is not allowed",
    "A model from outside is not in `policies/bases.yaml`.",
    "review it, then: countersign allow-base NAME --licence SPDX-ID",
)
CODES["BASE_CHANGED"] = Code(
    "The base model is not the one allowed",
    "Policy allows a base of this name with another digest.",
    "bring back the allowed bytes, or review the new ones: countersign allow-base NAME --licence"
    " SPDX-ID",
)
CODES["UNSAFE_FILES"] = Code(
    "A model folder holds files that can run code",
    "Pickled weights or Python files were found; only safetensors, JSON and plain text are loaded.",
    "use a revision with safetensors weights and without code",
)
CODES["GATE_MISSING"] = Code(
    "A model was trained without an allowed gate",
    "The log has no decision allowing the training of this model recorded before the training"
    " itself.",
    "train it again behind its gate: countersign repro --force train@STAGE",
)
CODES["THRESHOLDS_MISSING"] = Code(
    "Policy sets no thresholds for this evaluation",
    "`policies/evaluation.yaml` says neither thresholds nor `none: <reason>` for this suite and"
    " method.",
    "policies/evaluation.yaml: suites.SUITE.METHOD",
)
CODES["THRESHOLD_NOT_MET"] = Code(
    "A threshold is not met",
    "A figure of the evaluation, or the end of its confidence interval that counts, is beyond the"
    " threshold.",
    "improve the model or its data; the thresholds stand in policies/evaluation.yaml",
)
CODES["SLICE_NOT_MET"] = Code(
    "A slice of the evaluation is beyond its threshold",
    "The model does well enough over all items, or not, and too badly on those of one slice (a"
    " language, a topic): the worst is named, with its items and interval.",
    "improve the model or its data for that slice; the thresholds stand in"
    " policies/evaluation.yaml: slices",
)
CODES["WORSE_THAN_REFERENCE"] = Code(
    "Worse than what it is compared with",
    "On the same items, the difference to base, parent or champion goes beyond the margin that"
    " policy gives.",
    "improve the model or its data; the margins stand in policies/evaluation.yaml",
)
CODES["NOT_COMPARABLE"] = Code(
    "The comparison that policy demands cannot be made",
    "There is no evaluation of the reference on the same suite, or it has other items.",
    "evaluate both on the same suite: countersign repro --force evaluate@STAGE",
)
CODES["EVALUATION_INCOMPLETE"] = Code(
    "The evaluation lacks scores",
    "A metric that policy sets a threshold for is absent, was not run, has items without a score or"
    " too few items.",
    "params.yaml: suites.SUITE.metrics and limit, then `dvc repro`",
)
CODES["EVALUATION_OUT_OF_DATE"] = Code(
    "The evaluation used another suite",
    "The dataset, split, metrics or generation settings have changed since the model was evaluated,"
    " or differ from those policy pins.",
    "evaluate again: countersign repro --force evaluate@STAGE",
)
CODES["OBJECTIVE_UNKNOWN"] = Code(
    "The objective is not known by digest",
    "The stage's hyperparameters, or one of its reward functions, have no digest.",
    "params.yaml: check the stage's `method`, `trainer` and `rewards`",
)
CODES["REWARD_NOT_PERMITTED"] = Code(
    "The reward function is not permitted",
    "Policy lists the reward functions that may be used, and this one is not among them.",
    "policies/policy.yaml: rewards",
)
CODES["APPROVAL_MISSING"] = Code(
    "An approval is missing",
    "The model's tier demands that people approve this before it is used.",
    "countersign approve, by as many people as it says and in the roles it names",
)
CODES["SEPARATE_EVALUATOR"] = Code(
    "Trainer and evaluator are the same",
    "The model's tier demands an evaluation signed by a key other than the trainer's.",
    "run the evaluation with another COUNTERSIGN_SIGNER",
)
CODES["ALIAS_NOT_PERMITTED"] = Code(
    "The alias cannot be given on this evidence",
    "Governed aliases need approvals by people, keys that are not development keys, committed code"
    " and a promotable tier.",
    "`candidate` is what evidence alone can give",
)
CODES["LAWFUL_BASIS_NOT_PERMITTED"] = Code(
    "The lawful basis is not accepted",
    "Policy does not accept the lawful basis that the datacard declares.",
    "use other data, or policies/policy.yaml: lawful_bases",
)
CODES["SUITE_UNPINNED"] = Code(
    "The evaluation suite is not pinned",
    "The model's tier demands that policy names the digest of every suite that decides.",
    "policies/evaluation.yaml: suites.SUITE.digest",
)


# -- Rows that ingest leaves out: pipelines.sources ------------------------------------------------
def _row(title: str, meaning: str, next: str) -> Code:
    """The reason of a row that became no record. More of them than policy permits, and the source
    is refused.
    """
    return Code(title, meaning, next, blocking=False, section="Rows left out at ingest")


CODES["ROW_UNREADABLE"] = _row(
    "The row cannot be read",
    "It is not valid JSON, is nested too deeply, or has another number of fields than the header of"
    " its CSV file.",
    "mend the row in the source, or permit its loss in policies/policy.yaml: ingest",
)
CODES["ROW_NOT_OBJECT"] = _row(
    "The row is not an object",
    "It is valid JSON, but a list, a number or text, so it has no fields.",
    "mend the row in the source, or permit its loss in policies/policy.yaml: ingest",
)
CODES["ROW_TOO_LONG"] = _row(
    "The row is too long",
    "It has more characters than a record may have (16 Mi).",
    "split the text in the source, or permit its loss in policies/policy.yaml: ingest",
)
CODES["ROW_ENCODING"] = _row(
    "The text is not in the file's encoding",
    "Bytes of it are no text in the encoding of the dataset, or it has half of a UTF-16 pair.",
    "set `encoding` of the dataset in params.yaml (e.g. cp1252), or mend the row in the source",
)
CODES["KEY_REPEATED"] = _row(
    "A key stands twice in one object",
    "Two readers could take different values of it, so neither is taken.",
    "remove one of the two in the source, or permit the row's loss in policies/policy.yaml: ingest",
)
CODES["FIELD_MISSING"] = _row(
    "A field is missing",
    "Other rows of the file have the field and this one does not.",
    "add the field in the source, or permit the row's loss in policies/policy.yaml: ingest",
)
CODES["FIELD_NOT_TEXT"] = _row(
    "A field is not text",
    "Text was expected, and null, a boolean, a number, a list or an object was found.",
    "mend the field in the source, or permit the row's loss in policies/policy.yaml: ingest",
)
CODES["MESSAGES_MALFORMED"] = _row(
    "A conversation is not one",
    "It is not a list of messages, is empty, or does not end with the assistant's answer where one"
    " is needed.",
    "mend the conversation in the source, or permit the row's loss in policies/policy.yaml: ingest",
)
CODES["ROLE_UNKNOWN"] = _row(
    "A message has an unknown role",
    "The role is none that is known for user, assistant, system or tool.",
    "rename the role in the source, or add it to ROLE_NAMES in pipelines/sources/messages.py",
)
CODES["LABEL_NOT_BOOLEAN"] = _row(
    "A label is neither true nor false",
    "An unpaired record says of its answer whether it is wanted.",
    "mend the label in the source, or permit the row's loss in policies/policy.yaml: ingest",
)
CODES["RATING_INVALID"] = _row(
    "A rating cannot be used",
    "It is not a finite number, prefers an answer that is not there, names one rater twice, or"
    " nobody rated the row.",
    "mend the rating in the source, or permit the row's loss in policies/policy.yaml: ingest",
)
CODES["TURNS_UNANSWERED"] = _row(
    "Several turns without the answers between them",
    "A later turn cannot be asked without the answer to the first, which the data does not have.",
    "take the first turn alone: in params.yaml give the dataset `fields: {prompt: turns.0}`",
)
CODES["PROMPT_MISMATCH"] = _row(
    "The two prompts of a pair differ",
    "Chosen and rejected are whole conversations, and differ before the last answer. Always left"
    " out.",
    "nothing, unless there are many: then look at how the pairs were made",
)
CODES["NO_COMPARISON"] = _row(
    "Nothing to compare",
    "A list of ranked answers has fewer than two. Always left out.",
    "nothing, unless there are many: then look at how the answers were collected",
)


def _excluded(title: str, meaning: str, next: str) -> Code:
    """A reason for which a record is left out, or, where policy says so, a dataset refused."""
    return Code(
        title,
        meaning,
        next,
        blocking=False,
        section="Records left out by the scan and the quality gate",
    )


# -- PII scan and quality gate: pipelines.stages.{scan_pii,check_quality} --------------------------
CODES["PII_BLOCKED"] = Code(
    "Personal data that policy refuses",
    "The scan found an entity whose action in `policies/pii.yaml` is `block`.",
    "remove it from the source (records: reports/scan_pii/DATASET/report.json); a secret must also"
    " be revoked",
    section="PII scan and quality gate",
)
CODES["PII_DROPPED"] = _excluded(
    "Personal data that is not kept",
    "The record holds an entity whose action in `policies/pii.yaml` is `drop`.",
    "nothing, or redact instead: policies/pii.yaml, entities",
)
CODES["PII_UNSCANNED"] = _excluded(
    "The record could not be searched to the end",
    "A pattern took too long or a recognizer failed on one of its texts; what was not searched is"
    " not taken for clean.",
    "look at the record: it is most likely no text; or mend the pattern in policies/pii.yaml,"
    " recognizers",
)
CODES["QUALITY_CHECK_CRASHED"] = Code(
    "An expectation could not be judged",
    "Great Expectations raised an error, or found no value to judge. What cannot be judged does not"
    " pass.",
    "policies/quality/SUITE.yaml: mend the expectation, or take it out",
    section="PII scan and quality gate",
)
CODES["TOO_FEW_RECORDS"] = Code(
    "Too few records",
    "Fewer records are left than the suite asks for.",
    "read what was left out and why in reports/check_quality/DATASET/report.md; bring more data, or"
    " change the suite",
    section="PII scan and quality gate",
)
CODES["LABELS_UNBALANCED"] = Code(
    "Labels are out of balance",
    "Wanted and unwanted answers are not in the proportion the suite asks for.",
    "bring more of the rarer label, or change the suite",
    section="PII scan and quality gate",
)
CODES["AGREEMENT_TOO_LOW"] = Code(
    "Raters do not agree",
    "Krippendorff's alpha over the dataset is below the suite's bound, or cannot be had.",
    "look at the guidelines raters had; have records rated again, or leave out the raters who"
    " differ",
    section="PII scan and quality gate",
)
CODES["LENGTH_BIAS"] = Code(
    "The chosen answer is mostly the longer one, or mostly the shorter",
    "A model can learn length instead of quality from such pairs.",
    "bring pairs that balance it, or accept it: the suite only reports it unless told otherwise",
    blocking=False,
    section="PII scan and quality gate",
)
CODES["EMPTY_TEXT"] = _excluded(
    "Empty text",
    "A message or reference answer is nothing but white space, or an answer has no message.",
    "nothing, unless there are many: then look at how the data was made",
)
CODES["NOT_TEXT"] = _excluded(
    "Characters that no text has",
    "Control characters, or U+FFFD where bytes were lost in an earlier conversion.",
    "convert the source again from its original encoding",
)
CODES["ROLES_OUT_OF_ORDER"] = _excluded(
    "Roles are out of order",
    "Somebody speaks twice in a row, the system speaks later than first, or the wrong one begins or"
    " ends.",
    "mend the conversation in the source",
)
CODES["DUPLICATE"] = _excluded(
    "A duplicate",
    "An earlier record says the same, case and white space aside.",
    "nothing: the first one is kept",
)
CODES["NEAR_DUPLICATE"] = _excluded(
    "A near-duplicate",
    "An earlier record shares most of its word triples (MinHash).",
    "nothing, or change near_duplicate_similarity in the suite",
)
CODES["LEAK_HELD_OUT"] = _excluded(
    "A leak into the held-out dataset",
    "The record asks what a held-out record asks, or quotes it: training on it would make the"
    " evaluation worthless.",
    "nothing: it is left out",
)
CODES["LEAK_SPLIT"] = _excluded(
    "A leak between splits",
    "A training record asks what a validation or test record of the same dataset asks.",
    "nothing: it is left out",
)
CODES["CHOSEN_EQUALS_REJECTED"] = _excluded(
    "Both answers are the same",
    "Nothing can be learnt from preferring an answer to itself.",
    "nothing, unless there are many: then look at how the pairs were made",
)
CODES["CONTRADICTED"] = _excluded(
    "The opposite judgement stands in the data",
    "An earlier record judges the same answers to the same prompt the other way round.",
    "decide which is right in the source; the first one is kept",
)
CODES["TOO_LONG"] = _excluded(
    "Too long",
    "The record has more characters than the suite permits.",
    "shorten it in the source, or change the suite",
)
CODES["TOO_SHORT"] = _excluded(
    "Too short",
    "The record, or an answer of it, is shorter than the suite permits.",
    "nothing, or change the suite",
)
CODES["ANSWER_MISSING"] = _excluded(
    "No reference answer",
    "There is nothing a reward or metric could verify the model's answer against.",
    "add the answer in the source, or name its field in params.yaml: datasets.DATASET.fields",
)
CODES["WRONG_LANGUAGE"] = _excluded(
    "Another language",
    "The text is not in the language the suite names.",
    "nothing, or change `language` in the suite",
)
CODES["TOO_FEW_RATERS"] = _excluded(
    "Too few raters",
    "Fewer people rated the record than the suite asks for.",
    "have it rated again",
)
CODES["RATERS_DISAGREE"] = _excluded(
    "The raters of this record disagree",
    "No rating was given by as large a share of its raters as the suite asks for.",
    "have it rated again, or leave it out",
)


# -- Approvals, requests and governed aliases: governance.gates.checks.people --------------------
def _people(title: str, meaning: str, next: str) -> Code:
    return Code(title, meaning, next, section="People and governed aliases")


CODES["POLICY_NOT_SIGNED"] = _people(
    "The policies were not signed by their owners",
    "A governed alias moves only under policies that a quorum of the owners they name has signed.",
    "countersign policy sign, by each owner",
)
CODES["REQUESTER_UNKNOWN"] = _people(
    "Nobody authenticated asked for the runs",
    "Services sign for themselves; a person must have let them run in their name, by a signed"
    " authorization in force.",
    "countersign authorize, then countersign repro --force with COUNTERSIGN_REQUESTER set to that"
    " person",
)
CODES["ALIAS_UNKNOWN"] = _people(
    "Policy does not govern this alias",
    "An alias of a model that policy names needs a rule, or nobody can be asked for it.",
    "policies/policy.yaml: aliases",
)
CODES["REQUEST_MISSING"] = _people(
    "No open request",
    "A governed alias moves only by consuming one open request, signed by a person who may ask"
    " for it.",
    "countersign promote MODEL/VERSION --to ALIAS",
)
CODES["REQUEST_NOT_ENTITLED"] = _people(
    "The requester may not ask for it",
    "Policy names the roles in which a person may ask for a move of this alias.",
    "have it asked for by somebody in that role",
)
CODES["REQUEST_MISMATCH"] = _people(
    "The request is for something else",
    "Model, version, digest, alias, action and packet of a request are those of the move, or it is"
    " no request for it.",
    "sign a request for this move: countersign promote MODEL/VERSION --to ALIAS",
)
CODES["REQUEST_CONFLICT"] = _people(
    "The alias moved meanwhile",
    "A request names the version it replaces; another holds the alias now.",
    "look at who holds it (countersign live MODEL), then ask again",
)
CODES["REQUEST_EXPIRED"] = _people(
    "The request is not open",
    "A request is good from when it was signed until it expires, and for no longer than policy"
    " permits.",
    "sign a new one: countersign promote MODEL/VERSION --to ALIAS",
)
CODES["REQUEST_SPENT"] = _people(
    "The request was carried out already",
    "A request is consumed by the move it asks for.",
    "sign a new one: countersign promote MODEL/VERSION --to ALIAS",
)
CODES["PACKET_MISSING"] = _people(
    "There is no packet",
    "Approvals are of a packet: everything the release rests on, frozen under one digest.",
    "countersign freeze MODEL/VERSION",
)
CODES["PACKET_OUT_OF_DATE"] = _people(
    "The packet is out of date",
    "Evidence, policies or tier changed since the packet was put together, so what was approved is"
    " not what is there.",
    "countersign freeze MODEL/VERSION, and have it approved again",
)
CODES["REJECTED"] = _people(
    "Somebody rejects it",
    "A person whose role may approve has rejected this packet. Their last word counts.",
    "mend what they name; or they approve it after all",
)
CODES["WAIVER_NOT_IN_FORCE"] = _people(
    "A waiver does not count",
    "It expired, lasts too long, is of a finding that is never waived, was not accepted by somebody"
    " who may, or the packet does not name it.",
    "mend the finding, or have a new waiver accepted: countersign waive",
)
CODES["INCIDENT_OPEN"] = _people(
    "An incident is open",
    "Somebody reported that something is wrong with this model, and nobody has closed it.",
    "countersign incident close MODEL/VERSION, once it is mended",
)
CODES["INCIDENT_NOT_CLOSED"] = _people(
    "An incident was closed by somebody who may not",
    "Policy lists the roles that close an incident, and this was said in another; it is still"
    " open.",
    "countersign incident close MODEL/VERSION, by a person in one of policies/policy.yaml:"
    " incidents.closed_by",
)
CODES["CANARY_MISSING"] = _people(
    "No canary has passed",
    "The tier demands a canary before this alias; nothing records one yet, so only a waiver passes"
    " this.",
    "countersign waive --finding CANARY_MISSING, where policy permits",
)
CODES["COMMIT_NOT_PERMITTED"] = _people(
    "The code is of a commit that policy does not name",
    "Policy lists the commits whose code may make a release.",
    "run it from a permitted commit, or policies/policy.yaml: commits",
)
CODES["NEVER_RELEASED"] = _people(
    "It never held this alias",
    "A rollback goes back to a version that was approved and released under this alias before.",
    "countersign promote MODEL/VERSION --to ALIAS",
)
CODES["RETIRED"] = _people(
    "The version was retired",
    "A signed decision took these bytes out of service, under this number or another; they may be"
    " gone.",
    "release another version: countersign promote MODEL/VERSION --to ALIAS",
)
CODES["DECISION_NOT_REPRODUCED"] = _people(
    "A decision does not come out again",
    "A governed alias moved by an entry that allows what the rules in force did not, or that"
    " answers another question than the log asked there: somebody with the service's key wrote it"
    " past the decision.",
    "treat the service's key as lost: countersign revoke, then countersign rollback",
)
CODES["SECOND_SIGNATURE_OVERDUE"] = _people(
    "A second signature is overdue",
    "One person moved an alias alone, as policy permits in need; somebody else had to sign it by"
    " now.",
    "countersign approve REQUEST, by somebody else",
)


# -- Registry: governance.release.reconcile --------------------------------------------------------
def _registry(title: str, meaning: str, next: str) -> Code:
    return Code(title, meaning, next, section="Registry")


_RESTORE = (
    "find out who wrote the registry's database past the server; then put the row back as the log"
    " has it, or promote anew: countersign history MODEL"
)
CODES["REGISTRY_ALIAS_MOVED"] = _registry(
    "An alias was moved behind the log's back",
    "The registry gives a governed alias to another version than the log's last decision did.",
    _RESTORE,
)
CODES["REGISTRY_ALIAS_UNKNOWN"] = _registry(
    "An alias that policy does not know",
    "A governed model has an alias that no policy in force names.",
    "remove it, or have policies/policy.yaml changed and signed",
)
CODES["REGISTRY_VERSION_MISSING"] = _registry(
    "A version is gone from the registry",
    "The log has the registration of a version that the registry deleted, or never had.",
    "restore the registry's database and files from a backup; the log's entries stay",
)
CODES["REGISTRY_VERSION_UNKNOWN"] = _registry(
    "A version that the log does not know",
    "The registry has a version of a governed model that was neither registered with evidence nor"
    " made through the server. It can be given no alias.",
    "if a registration was cut off, `countersign repro` finishes it; otherwise find out who"
    " made it",
)
CODES["REGISTRY_SOURCE_CHANGED"] = _registry(
    "A version's source was changed",
    "The registry names another run or folder for a version's files than the one it was registered"
    " from.",
    _RESTORE,
)
CODES["REGISTRY_DIGEST_CHANGED"] = _registry(
    "A version's digest tag was changed",
    "The tag by which the registry shows a version's digest is not the digest in its registration.",
    _RESTORE,
)
CODES["REGISTRY_STAGE_SET"] = _registry(
    "A stage was set",
    "A governed version has one of MLflow's stages. Stages say nothing here; somebody may believe"
    " them.",
    _RESTORE,
)
CODES["REGISTRY_RUN_MISSING"] = _registry(
    "A run is gone",
    "The run from which a governed version was registered is deleted.",
    "restore it (mlflow runs restore), or the registry's database from a backup",
)
CODES["REGISTRY_LOOKALIKE"] = _registry(
    "A name that looks like a governed model's",
    "The registry has a model whose name could be taken for that of a governed one.",
    "delete that model; nothing governed is in it",
)

NEVER_WAIVED = frozenset(
    [
        "ALIAS_NOT_PERMITTED",
        "CHECK_CRASHED",
        "EVIDENCE_MISSING",
        "EVIDENCE_INCONSISTENT",
        "GATE_MISSING",
        "UNSAFE_FILES",
        "BASE_CHANGED",
        "POLICY_NOT_SIGNED",
        "REQUEST_MISSING",
        "REQUEST_NOT_ENTITLED",
        "REQUEST_MISMATCH",
        "REQUEST_CONFLICT",
        "REQUEST_EXPIRED",
        "REQUEST_SPENT",
        "PACKET_MISSING",
        "PACKET_OUT_OF_DATE",
        "APPROVAL_MISSING",
        "REJECTED",
        "WAIVER_NOT_IN_FORCE",
        "ALIAS_UNKNOWN",
        "NEVER_RELEASED",
        "RETIRED",
        "MODEL_UNKNOWN",
    ]
)
"""Codes that no waiver passes, whatever policy says: without these nothing that is decided could be
believed.
"""
