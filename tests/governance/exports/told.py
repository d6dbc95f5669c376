"""The records that exports are made from, texts that harm in them, and names that none may hold."""

from __future__ import annotations

from dataclasses import replace

from governance.exports.records import Records, read
from governance.policy.policies import Policies
from governance.policy.rules import Datacard
from governance.report.facts import Facts
from tests.governance.story import MODEL, Story

HOSTILE = (
    "<script>alert(1)</script> **bold** [link](javascript:alert(1)) | cell | `code`\n\n#"
    " Heading\n---\nlicense: mit\n![x](http://x.example/p.png) https://x.example www.x.example"
    " a@x.example $x$ &amp; \u202egnp\u202c \x1b[31m\u2028 \ud800"
)
"""What a name or a card may hold: Markdown, HTML, YAML, links, bidi marks, terminal codes, half a
character.
"""


def records_of(story: Story, version: str = "1") -> Records:
    return read(story.sources, (MODEL, version))


def judged_by(facts: Facts, policies: Policies | None, note: str = "") -> Facts:
    """The facts of a version under other policies, or under none."""
    return replace(facts, policies=policies, policies_are=note or "for a test")


def carded(records: Records, **fields: object) -> Records:
    """With every datacard saying something else."""
    policies = records.facts.policies
    assert policies is not None
    cards = {
        name: Datacard.model_validate({**card.model_dump(), **fields})
        for name, card in policies.datacards.items()
    }
    return replace(records, facts=judged_by(records.facts, replace(policies, datacards=cards)))


PEOPLE = ("ada", "ben", "cleo", "dora", "eve")
"""Names that no export may hold."""
