"""policies/controls/: what outside frameworks ask, as a catalogue of typed entries, one file per
framework.

1. A control names the kinds of evidence that could show it, by keys of `EVIDENCE`. An unknown key
   is an error.
2. The file has the dates from which a control is in force. Nothing here reads a clock.
3. The catalogue decides nothing, and no gate reads it. `governance.report.controls` links its keys
   to the evidence of one version.
4. Each entry says how it was checked: `V` and its sources, or `M`, from memory, which a person must
   confirm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from governance.base.errors import ConfigError, Problems, did_you_mean
from governance.base.model import Model, Slug
from governance.policy.policies import UNDECIDING, Policies, PolicyReader

EVIDENCE: Mapping[str, str] = {
    "source_register": "Owner, origin, licence, lawful basis, purposes, region, retention.",
    "dataset_lineage": "Content hashes from each raw source to the exact files that were used.",
    "pii_scan": "Engine, languages, counts before and after, measured recall, a person's sample.",
    "dq_results": "Suite digest, expectations passed and failed, row counts of each dataset.",
    "bias_profile": "Coverage and balance by groups, synthetic share, duplicates, gaps.",
    "label_guidelines": "Instructions to labellers by digest, and the datasets made under them.",
    "label_agreement": "Agreement between raters (n, per label), adjudication, annotators.",
    "training_record": "Base, code, environment, parameters, hardware, compute, energy, output.",
    "ai_bom": "Bill of materials: base model, datasets, libraries, with hashes and licences.",
    "eval_results": "Scores, thresholds fixed before, n, intervals, slices, champion, leak search.",
    "safety_eval": "Red-team, refusal, jailbreak and harm results, before and after fine-tuning.",
    "leak_probe": "Memorisation test: seeded canaries, regurgitation, membership inference.",
    "repro_check": "Evaluation and each training run again by another key, with the difference.",
    "approval_record": "Signed decisions of people: digest, role, time, page and evidence seen.",
    "sod_check": "Checked by machine: trainer, evaluator and approver differ; no self-approval.",
    "waiver_register": "Exceptions: what rule, who accepted, compensating control, expiry.",
    "policy_snapshot": "The policies in force at the decision, by digest and text, with history.",
    "audit_log_verification": "Root, size, signatures, growth from an anchored checkpoint.",
    "signature_verification": "Signatures of model and statements against named keys.",
    "access_control": "Who may sign, change policy, approve and deploy; last review of rights.",
    "inventory_record": "Owner, purpose, tier, status, version, where deployed, next review.",
    "registry_history": "Every alias move, and each call that was refused by rule.",
    "change_record": "Difference from the version before: data, code, base, evaluation.",
    "model_card": "Intended and forbidden use, limits, groups, metrics, oversight.",
    "annexiv_file": "Technical documentation in the order of Annex IV.",
    "training_summary": "Public summary of training content in the Commission's template.",
    "risk_register": "Risks of this model: likelihood, impact, treatment, owner, residual rating.",
    "impact_ref": "Reference and digest of an impact assessment kept elsewhere.",
    "legal_ref": "Reference and digest of a contract, opinion or notice kept elsewhere.",
    "retention_erasure": "Retention schedule, deletion proofs, erasures and versions reached.",
    "canary_result": "Staged rollout with entry and exit criteria and decision.",
    "rollback_drill": "Timed rehearsal of the way back: from, to, duration, checks.",
    "monitoring_plan": "Signals, thresholds, owner, cadence, escalation, stop criteria.",
    "monitoring_results": "Periodic results against the plan, breaches and what was done.",
    "incident_log": "Incidents: detected, classified, deadlines, cause, fix, versions affected.",
}
"""Kind of evidence that a control may ask for, and what it has to hold to be whole."""


def _known(key: str) -> str:
    if key not in EVIDENCE:
        raise ValueError(f"no kind of evidence {key!r}; one of: {', '.join(sorted(EVIDENCE))}")
    return key


EvidenceKey = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": sorted(EVIDENCE)})  # for editors
]
Words = Annotated[str, StringConstraints(min_length=3)]
HowSure = Annotated[str, StringConstraints(pattern=r"^(V:S\d+|M\b)")]
"""`V:S1,S2`: checked against these sources; `M`: from memory; both with `; `, and words where they
are needed.
"""


Strength = Literal["proves", "supports", "pointer"]
"""proves: the evidence alone shows what is asked, for one version. supports: needed, not enough.
pointer: only a reference to something kept elsewhere can be held.
"""
Role = Literal[
    "provider",
    "gpai-provider",
    "developer",
    "deployer",
    "controller",
    "processor",
    "financial-institution",
]
"""Whom a control addresses, in its framework's own word."""
Jurisdiction = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}(-[A-Z]{2})?|international)$")]
"""`EU`, a country (`US`, `UK`), a state (`US-CA`), or `international` for a standard."""


class Milestone(Model):
    """A date from which something is asked."""

    since: date
    of: Words
    """Of whom or what."""


class NotApplicable(Model):
    """A declaration, under approval like every policy, that a control does not apply to models."""

    models: list[Slug] = Field(min_length=1)
    why: Annotated[str, StringConstraints(min_length=10)]


class Sourced(Model):
    """Something that was checked against a source, or that a person must confirm."""

    how_sure: HowSure

    @property
    def to_confirm(self) -> bool:
        """Whether it is from memory, from an excerpt or from a second source."""
        return bool(re.search(r"\bM\b|confirm|excerpt|secondary", self.how_sure))


class Control(Sourced):
    """One thing that a framework asks."""

    id: Words
    title: str = ""
    """Absent where the framework gives none; the note says what it is about."""
    what_it_asks: str = ""
    note: str = ""
    evidence: list[EvidenceKey] = Field(min_length=1)
    strength: Strength = "supports"
    gap: str = ""
    """What no record here can show."""
    applies: str = ""
    in_force: list[Milestone] = []
    """As its framework's where absent."""
    roles: list[Role] = []
    """As its framework's where absent."""
    jurisdictions: list[Jurisdiction] = []
    """As its framework's where absent."""
    by_analogy: str = ""
    """Why it is cited by analogy only; empty where it is not."""
    also: list[str] = []
    """Further ids of the same framework's family that this covers."""
    not_applicable: list[NotApplicable] = []

    @model_validator(mode="after")
    def _says_something(self) -> Control:
        if not (self.title or self.what_it_asks or self.note):
            raise ValueError("give a title, what_it_asks or a note")
        if len(set(self.evidence)) != len(self.evidence):
            raise ValueError("a kind of evidence is named twice")
        return self


class Fact(Sourced):
    """Something that older material has wrong, printed as a warning."""

    fact: Words


class Alias(Model):
    """An id that people still quote."""

    id: Words
    maps_to: str
    why: Words
    """What became of it, e.g. `rescinded 17 April 2026`."""
    how_sure: str


class Framework(Model):
    """policies/controls/NAME.yaml."""

    framework: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9.-]{1,62}$")]
    title: Words
    kind: Literal["law", "supervision", "standard", "voluntary"]
    """How it binds: as law, as a supervisor's expectation, as a standard to be certified to, or not
    at all.
    """
    as_of: date
    """When its entries were checked."""
    roles: list[Role] = []
    """Whom it addresses; empty if that is not known."""
    jurisdictions: list[Jurisdiction] = []
    """Where it applies; empty if that is not known."""
    in_force: list[Milestone] = []
    facts: list[Fact] = []
    sources: dict[Annotated[str, StringConstraints(pattern=r"^S\d+$")], str] = {}
    controls: list[Control] = Field(min_length=1)
    secondary: list[Control] = []
    """Weaker, or mostly met elsewhere."""
    legacy_aliases: list[Alias] = []

    @model_validator(mode="after")
    def _consistent(self) -> Framework:
        ids = [control.id for control in self.every]
        duplicates = sorted({control_id for control_id in ids if ids.count(control_id) > 1})
        if duplicates:
            raise ValueError(f"control named twice: {', '.join(duplicates)}")
        unknown = sorted({alias.maps_to for alias in self.legacy_aliases} - set(ids))
        if unknown:
            raise ValueError(f"an alias maps to no control: {', '.join(unknown)}")
        texts = [sourced.how_sure for sourced in (*self.every, *self.facts)]
        cited = re.findall(r"\bS\d+\b", "\n".join(texts))
        missing = sorted(set(cited) - set(self.sources))
        if missing:
            raise ValueError(f"no such source: {', '.join(missing)}")
        if any(not control.what_it_asks or not control.gap for control in self.controls):
            raise ValueError("every control (secondary ones aside) says what_it_asks and its gap")
        return self

    @property
    def every(self) -> list[Control]:
        """All controls, the secondary ones last. What a control leaves out, its framework says."""
        inherited = ("roles", "jurisdictions", "in_force")
        every = []
        for control in (*self.controls, *self.secondary):
            missing = [name for name in inherited if not getattr(control, name)]
            every.append(control.model_copy(update={name: getattr(self, name) for name in missing}))
        return every


@dataclass(frozen=True)
class FoundControl:
    """A control that a search found."""

    framework: Framework
    control: Control
    alias: Alias | None = None
    """The old id by which it was found; None where its own id was used."""

    @property
    def id(self) -> str:
        """Framework and id. `Catalogue.find` accepts it."""
        return f"{self.framework.framework} {self.control.id}"


@dataclass(frozen=True)
class Catalogue:
    """Every framework of policies/controls/."""

    frameworks: tuple[Framework, ...]

    def find(self, wanted_id: str = "", framework: str = "") -> list[FoundControl]:
        """The controls whose id is `wanted_id`, or else begins with it. All controls where it is
        empty. The name of a framework may stand before the id.

        Raises `ConfigError` if there is none, and names similar ids.
        """
        chosen, wanted = self._named(framework), _plain(wanted_id)
        for each in chosen:
            if wanted.startswith(_plain(each.framework)):
                chosen, wanted = [each], wanted.removeprefix(_plain(each.framework))
                break
        controls = [found for each in chosen for found in _matching(each, wanted)]
        if wanted and not controls:
            ids = [control.id for each in chosen for control in each.every]
            expected, fix = "an id of policies/controls/", did_you_mean(wanted_id, ids)
            raise ConfigError(f"no control {wanted_id!r}", expected=expected, fix=fix)
        return controls

    def _named(self, name: str) -> list[Framework]:
        """The frameworks of this name, else those whose name begins so; all without a name."""
        wanted = _plain(name)
        exact = [each for each in self.frameworks if _plain(each.framework) == wanted]
        found = exact or [
            each for each in self.frameworks if _plain(each.framework).startswith(wanted)
        ]
        if name and not found:
            names = ", ".join(each.framework for each in self.frameworks)
            expected = f"one of: {names or 'none: policies/controls/ is empty'}"
            raise ConfigError(f"no framework {name!r}", expected=expected)
        return found


def narrowed(
    controls: Sequence[FoundControl], roles: Sequence[str], jurisdictions: Sequence[str]
) -> list[FoundControl]:
    """The controls for any of these roles and any of these jurisdictions. An empty list selects
    all. Raises `ConfigError` if a word is unknown or no control is left.
    """
    for_roles = _only(controls, roles, lambda found: found.control.roles)
    for_places = _only(controls, jurisdictions, lambda found: found.control.jurisdictions)
    kept = [found for found in for_roles if found in for_places]
    if not kept:
        raise ConfigError("no control is for this role in this jurisdiction")
    return kept


def _only(
    controls: Sequence[FoundControl],
    wanted: Sequence[str],
    addressed: Callable[[FoundControl], Sequence[str]],
) -> list[FoundControl]:
    """The controls that address any of these words, whatever its case, or that name none."""
    words = {word.casefold() for word in wanted}
    kept, known = [], set[str]()
    for found in controls:
        own = {word.casefold() for word in addressed(found)}
        known |= own
        if not words or not own or words & own:
            kept.append(found)
    if not words <= known:
        expected = f"one of: {', '.join(sorted(known))}"
        raise ConfigError(f"no control is for {min(words - known)!r}", expected=expected)
    return kept


def catalogue_of(policies: Policies) -> Catalogue:
    """policies/controls/. Raises `Problems` with every mistake of every file."""
    reader = PolicyReader(policies.files, Path("policies"))
    frameworks = reader.each(UNDECIDING, Framework)
    names = [framework.framework for framework in frameworks.values()]
    problems = [
        ConfigError(
            f"framework {framework.framework} stands in two files",
            where=f"policies/controls/{name}.yaml",
        )
        for name, framework in frameworks.items()
        if names.count(framework.framework) > 1
    ]
    if problems or reader.problems:
        raise Problems([*reader.problems, *problems])
    return Catalogue(tuple(framework for _, framework in sorted(frameworks.items())))


def _plain(text: str) -> str:
    """An id without what people write differently: case, spaces."""
    return re.sub(r"\s+", "", text).casefold()


def _matching(framework: Framework, wanted: str) -> list[FoundControl]:
    """The control with this id. Else controls that cover it, or that an old id maps to, or whose
    id begins with it. All controls where no id is wanted.
    """
    controls = [FoundControl(framework, control) for control in framework.every]
    if not wanted:
        return controls
    exact = [each for each in controls if _plain(each.control.id) == wanted]
    covered = [each for each in controls if wanted in map(_plain, each.control.also)]
    targets = {control.id: control for control in framework.every}
    aliased = [
        FoundControl(framework, targets[alias.maps_to], alias)
        for alias in framework.legacy_aliases
        if _begins(alias.id, wanted)
    ]
    beginning = [each for each in controls if _begins(each.control.id, wanted)]
    return exact or covered or aliased or beginning


def _begins(control_id: str, wanted: str) -> bool:
    """Whether an id begins with `wanted`. A number must match whole: `Art. 1` is not `Art. 15`."""
    plain = _plain(control_id)
    if not plain.startswith(wanted):
        return False
    rest = plain[len(wanted) :]
    return not (wanted[-1].isdigit() and rest[:1].isdigit())
