"""What policies say, as typed, frozen models: `policy.yaml`, `bases.yaml` and the datacards.

An unknown field or a broken reference is an error. Nothing has a permissive default.
"""

from collections.abc import Collection, Iterable
from datetime import date
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from governance.attest.keys import earlier_key, public_key
from governance.attest.predicates import CANDIDATE, KINDS
from governance.attest.predicates.parts import Currency
from governance.base.errors import ConfigError
from governance.base.model import Model, Sha256, Slug, absent, empty
from governance.log.notes import WITNESS_KEY, VerifierKey, is_name, read_vkey
from governance.policy.data import IngestPolicy, TrainingRules
from governance.policy.labelling import Labelling
from governance.policy.monitoring import MonitoringRules, Price
from governance.policy.readers import Readers, odd_names
from governance.policy.rollouts import RolloutRules
from governance.policy.serving import ServingRules

Classification = Literal["public", "internal", "confidential", "restricted"]
"""How much harm disclosure would do, by the usual four words."""

LawfulBasis = Literal[
    "no_personal_data",
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interests",
]
"""GDPR Art. 6(1), or that there is nothing to which it applies."""

Region = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2,4}|anywhere)$")]
"""A country (ISO 3166, two letters), a union of them (EU, EEA), or `anywhere`."""

FunctionName = Annotated[str, StringConstraints(pattern=r"^(tools/)?[a-z][a-z0-9_-]{0,62}$")]
"""A reward function, or `tools/NAME`."""

Limit = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Months = Annotated[int, Field(ge=1, le=120, strict=True)]

RIGHTS = (*(kind.name for kind in KINDS.values() if kind.granted), CANDIDATE)
"""What policy can let a principal sign: the granted kinds of `governance.attest.predicates`, and
moves of `candidate` alone.
"""
COVERED_BY = {CANDIDATE: "promotion"}
"""Right to the right that includes it. Who decides on every alias also gives `candidate`: policies
from before it had a right of its own keep their meaning.
"""
if TYPE_CHECKING:
    Right = str
else:
    Right = Literal[RIGHTS]


class Retention(Model):
    """How long the data may be kept."""

    until: date | None = None
    """The last day, UTC."""
    then: str = ""
    """What happens afterwards, e.g. `erase`."""


class Datacard(Model):
    """What a steward declares of a dataset. Blanks are allowed here and refused by the gate, by
    name.
    """

    title: str = ""
    steward: str = ""
    """Who answers for it: a role or a team."""
    origin: str = ""
    """Who made it, how and when, and how it came here."""
    licence: str = ""
    """SPDX identifier, or a name that policy lists."""
    lawful_basis: LawfulBasis | None = None
    purposes: list[Slug] = []
    """What it may be used for; a model has one of these purposes or does not train on it."""
    regions: list[Region] = []
    """Where it may be processed."""
    classification: Classification | None = None
    retention: Retention = Retention()
    labelling: str | Labelling = ""
    """Who labelled it, under which guidelines; `none` where nobody did. In words, or in parts."""
    suite: Slug | None = None
    """The quality suite it is held to; params.yaml says which one ran, this says which one counts.
    """
    source_sha256: Sha256 | None = None
    """The source's digest, where it is pinned (a folder's is that of its manifest)."""
    generated_by: str = Field("", exclude_if=empty)
    """Of data that a `generate` stage made: the stage, base or endpoint that wrote the answers."""
    beyond_raters: str = Field("", exclude_if=empty)
    """Why people cannot reliably judge the answers, e.g. long proofs or programs; empty where they
    can. Reports say so beside what rests on these labels.
    """
    notes: str = ""

    @property
    def labelled_by(self) -> str:
        """Who labelled it, in words."""
        said = self.labelling
        return (said if isinstance(said, str) else said.by).strip()

    def blanks(self) -> list[str]:
        """The fields that must be filled in before anything trains, in the order of the card."""
        values: dict[str, object] = {
            "title": self.title.strip(),
            "steward": self.steward.strip(),
            "origin": self.origin.strip(),
            "licence": self.licence.strip(),
            "lawful_basis": self.lawful_basis,
            "purposes": self.purposes,
            "regions": self.regions,
            "classification": self.classification,
            "retention.until": self.retention.until,
            "retention.then": self.retention.then.strip(),
            "labelling": self.labelled_by,
            "suite": self.suite,
        }
        return [name for name, value in values.items() if not value]


class ModelPolicy(Model):
    """What is decided about a model before it exists."""

    tier: Slug
    purpose: Slug
    """What it is for; the datacards of everything it trains on must permit it."""
    region: Region
    """Where it is made."""
    owner: str = Field("", max_length=100)
    """The person or team that answers for it in use."""
    limits: list[Limit] = []
    """What it must not be used for, one sentence each, beside the limits of its tier."""
    review_every: Months | None = None
    """Months after which people review an approved version again; as its tier says, where absent.
    """


class OverdueReview(Model):
    """What follows where a version in use is not reviewed by its date (`review_every`): from the
    day after that date, a promotion of the model has a finding that a waiver can pass.
    """

    grace_days: int = Field(ge=0, le=3650, strict=True)
    """Days after the date until `then`."""
    then: Literal["warn", "block_moves", "stop_serving"]
    """`warn`: nothing more. `block_moves`: no waiver passes the finding any more. `stop_serving`:
    neither, and the verifying loader does not load the version. Rollback and retirement are
    never blocked.
    """


class Tier(Model):
    """What a risk tier demands."""

    promotable: bool
    """Whether a governed alias can be given at all."""
    approvals: int = Field(ge=0, strict=True)
    """How many people, in different roles, must approve a release."""
    approvers: list[Slug] = []
    """The roles in which they approve; empty where nobody can."""
    classifications: list[Classification] = Field(min_length=1)
    """Of the data it may train on."""
    approved_before_training: list[Literal["data", "objective", "rewards"]] = []
    """What people approve before it is used."""
    separate_evaluator: bool = False
    """Whether the evaluation is signed by a key other than the trainer's."""
    pinned_sources: bool = False
    """Whether every datacard names the sha256 of its source."""
    pinned_suites: bool = False
    """Whether evaluation.yaml names the digest of every suite that decides."""
    imported: bool = False
    """Whether a model that was trained elsewhere may be released, with its declaration."""
    canary: bool = False
    """Whether a canary rollout from the holder of the alias must have passed before the alias is
    given.
    """
    waiver_days: int | None = Field(default=None, ge=0, strict=True)
    """The longest a waiver may last in this tier; as `waivers.max_days` where absent."""
    limits: list[Limit] = []
    """What no model of this tier may be used for, one sentence each."""
    review_every: Months | None = None
    """Months after which people review an approved version again."""
    overdue_review: OverdueReview | None = None
    """What follows where they do not; where absent, the review is an open point only."""
    witnesses: int = Field(default=0, ge=0, le=32, strict=True)
    """How many witnesses must have cosigned the log before an alias is given, and before a verifier
    believes it.
    """


class EndpointPrice(Price):
    """What a million tokens of an endpoint cost."""

    currency: Currency


class Endpoint(Model):
    """A model behind an API that speaks OpenAI's protocol, which may be asked to generate or judge
    data (docs/generated-data.md).
    """

    url: Annotated[str, Field(max_length=500)]
    """Where `/chat/completions` is, without it: https, or http on this machine."""
    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}$")]
    """The name under which it is asked."""
    classifications: list[Classification] = Field(min_length=1)
    """Of what may be sent there: prompts, and what a model of the project wrote, by all data that
    the model was made from.
    """
    region: Region
    """Where it processes them. The datacards of all that is sent must permit it."""
    price: EndpointPrice | None = Field(None, exclude_if=absent)
    """For the cost of judging that evidence states; no cost is stated without it."""

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not _is_plain_url(self.url):
            raise ValueError("an endpoint's url is https://HOST/PATH, without account or query")
        return self


class Witness(Model):
    """Somebody outside the operator who cosigns the log's checkpoints (docs/witnesses.md)."""

    name: Annotated[str, Field(max_length=200)]
    """As it stands in the cosignatures."""
    key: str
    """Its verifier key (`NAME+HASH+BASE64`), or its Ed25519 public key, PEM or OpenSSH."""
    url: Annotated[str, Field(max_length=500)]
    """Where it is asked, without `/add-checkpoint`: https, or http on the log's own machine."""

    @cached_property
    def verifier(self) -> VerifierKey:
        """Name and key, to verify cosignatures. Raises `ConfigError`."""
        if "+" in self.key.split(" ")[0] and not self.key.startswith("-----"):
            key = read_vkey(self.key)
            if key.name != self.name or key.kind != WITNESS_KEY:
                found = "the verifier key is not a witness's key of this name"
                raise ConfigError(found, expected=f"{self.name}+HASH+BASE64 of type 4")
            return key
        key = VerifierKey(self.name, public_key(self.key), WITNESS_KEY)
        _ = key.hash  # raises where it is not Ed25519
        return key

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if not is_name(self.name):
            raise ValueError("a witness's name has no spaces and no +")
        if not _is_plain_url(self.url):
            raise ValueError("a witness's url is https://HOST, without account or query")
        try:
            _ = self.verifier
        except ConfigError as error:
            raise ValueError(str(error).replace("\n  ", "; ")) from None
        return self


def _is_plain_url(url: str) -> bool:
    """Whether it is https, or http on this machine, without account, query or fragment."""
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    )
    odd = parts.username or parts.password or parts.query or parts.fragment
    return secure and not odd and bool(parts.hostname)


class Quorum(Model):
    """So many different people, each in one of these roles."""

    people: int = Field(ge=1, strict=True)
    roles: list[Slug] = Field(min_length=1)


class AliasRule(Model):
    """How an alias that serves users is given, moved and taken back."""

    requesters: list[Slug] = Field(min_length=1)
    """Roles in which a person may ask for the move."""
    request_hours: int = Field(default=24, ge=1, le=24 * 31, strict=True)
    """The longest a request stays open."""
    rollback_people: int = Field(default=1, ge=1, strict=True)
    """Distinct people behind a rollback, the one who asks included."""
    break_glass: list[Slug] = []
    """Roles in which one person alone may roll back; empty where nobody may."""
    second_signature_hours: int = Field(default=72, ge=1, strict=True)
    """Within which somebody else signs what one person did alone."""


class IncidentRules(Model):
    """In which roles a person says that something is wrong with a model, and that it no longer
    is.
    """

    opened_by: Annotated[list[Slug], Field(min_length=1)] | None = None
    """`Rules.responsible_roles` where absent."""
    closed_by: Annotated[list[Slug], Field(min_length=1)] | None = None
    """As above. Whoever asks for a move never closes what somebody else opened."""
    checked_by_another: bool = False
    """Whether the check that the actions were effective is by a person who recorded none of the
    actions; where none is recorded, by another than the one who closes.
    """
    closing_needs: list[Literal["severity", "cause", "actions"]] = Field([], exclude_if=empty)
    """What must have been stated of an incident for its closing to count, beside the check."""


class WaiverRules(Model):
    """What may be accepted for a while, for how long, and by whom."""

    max_days: int = Field(ge=0, strict=True)
    """0 where nothing may be waived."""
    accepted_by: list[Slug] = []
    """Roles in which a person may accept."""
    never: list[str] = []
    """Finding codes that no waiver passes, beside those that none ever passes
    (`governance.attest.codes.NEVER_WAIVED`).
    """


class Principal(Model):
    """A person or service, with the public keys that are theirs and the evidence they may sign."""

    name: Slug
    kind: Literal["person", "service"]
    roles: list[Slug] = []
    keys: list[str] = Field(min_length=1)
    """Ed25519 or ECDSA P-256 public keys, PEM or OpenSSH."""
    signs: list[Right] = []
    until: date | None = None
    """The last day, UTC, on which they act: what is decided later rests on no approval, request or
    waiver of theirs, whatever its date. Rights that end at once are ended by another policy or a
    revocation.
    """

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for text in self.keys:
            try:
                earlier_key(text)  # what may stand in new policies: `PolicyReader`
            except ConfigError as error:
                raise ValueError(str(error).replace("\n  ", "; ")) from None
        return self


class Licences(Model):
    """Licences that are permitted, by SPDX identifier or a name of one's own."""

    data: list[str] = Field(min_length=1)
    bases: list[str] = Field(min_length=1)


class Rules(Model):
    """policies/policy.yaml."""

    models: dict[Slug, ModelPolicy] = Field(min_length=1)
    """By the name under which a model is registered."""
    tiers: dict[Slug, Tier] = Field(min_length=1)
    licences: Licences
    lawful_bases: list[LawfulBasis] = Field(min_length=1)
    ingest: IngestPolicy = IngestPolicy()
    """What happens to rows that cannot become records; a source that has any is refused unless this
    says otherwise.
    """
    training: TrainingRules | None = None
    """How many of its records a training may leave out or cut; any number where absent."""
    rewards: list[FunctionName] | None = None
    """The reward functions that may be used, and `tools/NAME` for tools; any that is known by
    digest when absent.
    """
    development_keys: Literal["candidate", "never"]
    """What evidence signed by keys made without ceremony is good for."""
    principals: list[Principal] = []
    owners: Quorum | None = None
    """Who must sign a changed policy before it counts for governed aliases; nobody can where
    absent.
    """
    recovery: Quorum | None = None
    """Who may sign it in their stead, where owners were lost."""
    aliases: dict[Slug, AliasRule] = {}
    """The governed aliases; any other but `candidate` is refused for models that policy names."""
    waivers: WaiverRules = WaiverRules(max_days=0)
    incidents: IncidentRules = IncidentRules()
    seconded_by: Annotated[list[Slug], Field(min_length=1)] | None = None
    """Roles in which a person signs a rollback or a retirement that another asked for;
    `responsible_roles` where absent.
    """
    commits: list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]] | None = None
    """The commits whose code may have made a release; any committed one where absent."""
    witnesses: list[Witness] = []
    """Who cosigns the log's checkpoints; `witnesses` of a tier says how many must."""
    witness_grace_hours: int = Field(default=24, ge=1, le=24 * 31, strict=True)
    """How old the cosignatures may be. A rollback, retirement, revocation or incident never waits
    for one.
    """
    builders: list[Slug] | None = None
    """The services whose machines may have made a release; any that may sign where absent."""
    endpoints: dict[Slug, Endpoint] = {}
    """Models elsewhere that a `generate` stage may ask; none where absent."""
    readers: Readers | None = None
    """Who may read the content of datasets and models; everybody who has the files where absent."""
    rollouts: RolloutRules | None = None
    """Who may ask for and widen canary rollouts, and their limits; nobody where absent."""
    serving: ServingRules = ServingRules()
    """When `countersign serve` stops."""
    monitoring: MonitoringRules | None = None
    """What it observes, and what of it is a finding; nothing is recorded where absent."""

    def in_roles(self, roles: Collection[str] | None) -> list[Principal]:
        """The people in any of these roles; all people where None."""
        people = [principal for principal in self.principals if principal.kind == "person"]
        return [person for person in people if roles is None or set(person.roles) & set(roles)]

    @property
    def seconders(self) -> list[str]:
        """The people who may sign what another asked for."""
        return [person.name for person in self.in_roles(self.second_roles)]

    @property
    def owner_roles(self) -> list[str]:
        """The roles that sign policies: of the owners, and of those who recover."""
        quorums = (self.owners, self.recovery)
        return _distinct(quorum.roles for quorum in quorums if quorum is not None)

    @property
    def requester_roles(self) -> list[str]:
        """The roles that ask for the move of any alias."""
        return _distinct(rule.requesters for rule in self.aliases.values())

    @property
    def responsible_roles(self) -> list[str]:
        """The roles to which a rule gives a part in a release: who approves, accepts a waiver,
        asks for a move, rolls back alone, or signs policies.
        """
        return _distinct(
            [
                *(tier.approvers for tier in self.tiers.values()),
                self.waivers.accepted_by,
                self.requester_roles,
                *(rule.break_glass for rule in self.aliases.values()),
                self.owner_roles,
            ]
        )

    @property
    def second_roles(self) -> list[str]:
        """The roles that sign what another asked for."""
        return self.responsible_roles if self.seconded_by is None else self.seconded_by

    def incident_roles(self, state: Literal["open", "closed"]) -> list[str]:
        """The roles that may open or close an incident."""
        named = self.incidents.opened_by if state == "open" else self.incidents.closed_by
        return self.responsible_roles if named is None else named

    @model_validator(mode="after")
    def _witnesses_are_others(self) -> Self:
        """Each witness has a key of its own, which is nobody's in the policy."""
        keys = [witness.verifier.key.keyid for witness in self.witnesses]
        people = self.principals if keys else []
        owned = {earlier_key(key).keyid for person in people for key in person.keys}
        if len({witness.name for witness in self.witnesses}) < len(keys):
            raise ValueError("two witnesses have one name")
        if len(set(keys)) < len(keys):
            raise ValueError("two witnesses have one key, which is one witness")
        if owned & set(keys):
            raise ValueError("the key of a witness is also that of a principal")
        wanted = max((tier.witnesses for tier in self.tiers.values()), default=0)
        if wanted > len(keys):
            raise ValueError(f"a tier asks for {wanted} witnesses, and {len(keys)} are named")
        return self

    @model_validator(mode="after")
    def _readers_are_known(self) -> Self:
        wrong = odd_names(self.readers, self.principals) if self.readers else []
        if wrong:
            raise ValueError(f"readers: {'; '.join(wrong)}")
        return self

    @model_validator(mode="after")
    def _monitored_are_known(self) -> Self:
        rules = self.monitoring
        named = {*rules.prices, *(each.model for each in rules.limits)} if rules else set()
        unknown = sorted(name for name in named if name and name not in self.models)
        if unknown:
            raise ValueError(f"monitoring: no such model: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _candidate_is_free(self) -> Self:
        if CANDIDATE in self.aliases:
            raise ValueError("`candidate` is given by evidence alone and cannot be governed")
        return self


def _distinct(groups: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(groups)))


class AllowedBase(Model):
    """A model from outside that may be used, and what was reviewed."""

    digest: Sha256
    """`governance.attest.digests.tree_digest` of its folder."""
    weights: bool
    """False for an architecture to be trained from scratch."""
    source: str
    licence: str


class Bases(Model):
    """policies/bases.yaml, written by `countersign allow-base`."""

    bases: dict[Slug, AllowedBase]
