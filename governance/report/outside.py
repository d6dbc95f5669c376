"""Results of other evaluation tools about the version, as they were imported. No decision reads
them.
"""

from __future__ import annotations

from governance.attest.predicates import Results
from governance.log.evidence import Evidence
from governance.report.facts import Facts
from governance.report.model.scores import OutsideResults


def outside(facts: Facts) -> list[OutsideResults]:
    """Every import about the version's bytes that counts, in the order of the log."""
    return [
        OutsideResults(results=each.predicate, words=_words(facts, each), evidence=[each.index])
        for each in facts.view.by_subject(facts.digest, Results)
        if each.predicate.model_digest == facts.digest
    ]


def _words(facts: Facts, statement: Evidence[Results]) -> str:
    """The assurance of an import."""
    train = facts.released.train
    own = train is not None and train.keyid == statement.keyid
    key = "the key that trained it" if own else "another key than the trainer's"
    key += ", a development key" if statement.development else ""
    hashed = statement.predicate.digest_from == "folder"
    digest = "hashed from its folder" if hashed else "as stated"
    return f"separately run; imported under {key}; digest of the model {digest}"
