"""The version of the rules by which each entry of a log is judged.

A rule that becomes stricter must not change what an old decision was. So a log records the version
that it began with (in its origin) and each later version (in an entry `rules`). An entry is judged
by the version in force before it, whoever reads it, and whenever. A version never falls.

Version 1: every log from before versions were recorded.
Version 2:
- a statement counts only in the log that it names;
- keys are of the accepted kinds, and each signature has one form (`governance.attest.keys`);
- a statement counts once, at the first entry that has it;
- one table says who may make which statement, and how long its texts and policies may be
  (`governance.policy.speakers`);
- an approval of policies or of a checkpoint key counts for what it says that it is about;
- a training, base, gate or evaluation says which sources and installed files ran;
- data stages and evaluations of earlier models count for a governed alias only if a named service
  signed them, from committed code;
- a rollback goes back to the last earlier version against which nothing is open;
- a version of a model keeps the bytes of its first registration;
- the configuration files of a registered model have known keys and no code;
- waivers and approvals count for `candidate`, too, as they count at gates;
- whether a run began before its authorization ended is decided by the two times, not by their
  texts;
- a move of `candidate` holds what was asked, so that it can be repeated;
- a waiver covers exactly what it says was found;
- a move of a governed alias states what was waived;
- a training makes another model than its parent: one that gave back the parent's bytes made
  nothing, and a model whose parents lead back to itself has no origin.
Version 3:
- an evaluation made under it is judged by the default limits of behaviour where policy sets none,
  and that of a reward model states how it ranks each pair;
- how a model behaves is said by the stage that evaluates what its training made, on its own suite
  and beside its parent; by others about the same bytes, nothing is said;
- the steps behind a version are told apart by digest: two models of the chain may have been made by
  stages of one name;
- a stage is not allowed with a reward model or a parent whose bytes have an open incident, or of
  which a version was retired or rejected; nor on data that such a model made;
- a version whose bytes were retired or rejected under another model name gets no governed alias;
- data is generated only with a judge that has passed a check of its own (its card); of what was
  generated before, that is asked where policy has `judges`;
- an evaluation by a judge does not count for a model that was optimised to please that judge;
- datasets of different names with one record root are the same records: no model is trained on both
  or evaluated on one of them after training on the other;
- data counts only if its ingest applied the exclusions of the erasures before it; a version that
  has seen erased records gets no governed alias after the deadline;
- a scan that used an entry of the allow-list counts until the entry ends;
- the closing of an incident counts only with a check that the actions were effective;
- data was compared with every suite and task of the project at the time of its gate, and with those
  that the released model is evaluated on; the files of such a task were searched for personal data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from governance.attest.envelope import unverified
from governance.attest.predicates import KINDS as EVIDENCE_KINDS
from governance.attest.predicates import Origin
from governance.base.errors import VerificationError
from governance.log.port import Entry, Log

CURRENT = 3
"""The version that new logs begin with, and that this program adds to older ones."""
WHOLE_CHAIN = 2
"""From this version on, no statement behind a governed alias is by a development key or from
uncommitted code.
"""
ONE_DIGEST = 2
"""From this version on, a version of a model keeps the bytes of its first registration."""
LAST_EARLIER = 2
"""From this version on, a rollback goes to the last earlier version against which nothing is open.
"""
TABLE = 2
"""From this version on, `governance.policy.speakers` says who may say what."""
STATES_FILES = 2
"""From this version on, a training, base, gate or evaluation says which files ran."""
CHECKED_CONFIGS = 2
"""From this version on, the configuration files of a registered model are checked."""
CANDIDATE_HAS_RIGHTS = 2
"""From this version on, waivers and approvals count in a decision on `candidate`."""
HOLDS_REQUEST = 2
"""From this version on, a move of `candidate` holds what was asked, too."""
WAIVES_FIGURES = 2
"""From this version on, a waiver covers a finding only with the figures that it names."""
STATES_WAIVED = 2
"""From this version on, a move of a governed alias states the findings that were waived."""
MAKES_ANOTHER = 2
"""From this version on, a training that gave back its parent's bytes made nothing."""
LIMITS_BEHAVIOUR = 3
"""From this version on, an evaluation is judged by the default limits of behaviour where policy
sets none, and one of a reward model states how it ranks each pair.
"""
OWN_EVALUATION = 3
"""From this version on, only the stage that evaluates what a training made, or what was imported,
says how a model behaves; of a model that was trained here, beside its parent.
"""
STEPS_BY_DIGEST = 3
"""From this version on, a step behind a version is known by digest. Before, the last of those with
one name hid the others from packet and decision.
"""
JUDGES_SCORERS = 3
"""From this version on, what people say of a model counts at the gates of what is trained from it,
scored by it, or trained on data that it made.
"""
JUDGES_NAMES = 3
"""From this version on, a version whose bytes were retired or rejected under another model name
gets no governed alias.
"""
CHECKS_JUDGES = 3
"""From this version on, data that was generated needs the card of its judge, whether policy has
limits for judges or not.
"""
JUDGED_BY_ANOTHER = 3
"""From this version on, the judge of an evaluation is not the reward model of what it judges."""
COMPARES_RECORDS = 3
"""From this version on, datasets are compared by their record roots, whatever their names."""
ERASES = 3
"""From this version on, erasures count: of data that is used, and of versions that are released."""
ENDS_ALLOWANCES = 3
"""From this version on, a scan that used an entry of the allow-list counts until the entry ends."""
CHECKS_CLOSINGS = 3
"""From this version on, an incident is closed only with a check that the actions were effective."""
COMPARES_SUITES = 3
"""From this version on, training data was compared with every suite and task that decides, and the
files of these tasks were searched for personal data.
"""
NAMES_ITS_LOG = 2
"""From this version on, a statement counts only in the log that it names."""
ONE_FORM = 2
"""From this version on, keys are of the accepted kinds, and each signature has one form."""
INSTANTS = 2
"""From this version on, the start of a run and the end of its authorization are compared as times.
As text, a whole second comes after each of its fractions.
"""
COUNTS_ONCE = 2
"""From this version on, a statement counts at the first entry that has it only."""
EVENTS = ("call", "refusal")
"""Kinds that only the server states, about what happened: the same may happen twice."""
KINDS = ("origin", "rules")
"""The kinds of statement that set a version."""


@dataclass(frozen=True)
class RuleVersions:
    """The versions that a log has had."""

    changes: tuple[tuple[int, int], ...] = ()
    """Entry, and the version that judges the entries after it; in order."""

    def at(self, index: int) -> int:
        """The version that judges entry `index`."""
        versions = [version for position, version in self.changes if position < max(index, 1)]
        return max(versions, default=1)

    def strict_at(self, index: int) -> bool:
        """Whether key and signature of entry `index` must be of an accepted kind and form."""
        return self.at(index) >= ONE_FORM

    def since(self, version: int) -> int | None:
        """The first entry that is judged by this version or a later one; None without one."""
        positions = (position + 1 for position, changed in self.changes if changed >= version)
        return next(positions, None)


def names_its_log(log: Log) -> bool:
    """Whether the next statement counts only if it names this log."""
    return log.size() > 0 and rule_versions(log).at(log.size()) >= NAMES_ITS_LOG


def is_here(named: str | None, log: str, rules: int) -> bool:
    """Whether a statement that names one log, or none, counts in a log under a version of the
    rules. Both logs are hashes of entry 0.
    """
    return named == log or (named is None and rules < NAMES_ITS_LOG)


def rule_versions(log: Log) -> RuleVersions:
    """The versions that the log has now. Raises `VerificationError`."""
    return versions_of(log.by_kind(KINDS))


def versions_of(entries: Iterable[Entry]) -> RuleVersions:
    """The versions that these entries of `KINDS` set. Their signatures are not verified here: only
    a log's owner can append them, and a version never makes a rule weaker. Raises
    `VerificationError` for a version that this program does not know.
    """
    changes: list[tuple[int, int]] = []
    for entry in entries:
        where = f"entry {entry.index}"
        version = _version_in(entry, where)
        if version > CURRENT:
            raise VerificationError(
                f"the log follows rules {version}", expected=f"at most {CURRENT}", where=where,
                fix="use a newer version of Countersign",
            )  # fmt: skip
        changes.append((entry.index, version))
    return RuleVersions(tuple(changes))


def _version_in(entry: Entry, where: str) -> int:
    kind = EVIDENCE_KINDS[entry.kind]
    statement, _ = unverified(entry.envelope, where=where)
    try:
        predicate: Any = kind.model.model_validate(statement.get("predicate"))
    except ValidationError:
        predicate = None
    if statement.get("predicateType") != kind.uri or predicate is None:
        raise VerificationError("it is filed under another kind than its own", where=where)
    return predicate.rules or 1 if isinstance(predicate, Origin) else int(predicate.version)
