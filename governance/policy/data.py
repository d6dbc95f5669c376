"""What policies/ says about data itself: the PII policy and the quality suites, as typed models.

1. Every entity has an action: its own, or the explicit default. An entity nobody thought of is
   never silently let through.
2. `allow` always carries its reason, because a reviewer signs it.
3. An expectation that drops records judges records one by one; one that judges a whole column or
   table can only block or report.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from governance.attest.codes import CODES
from governance.attest.predicates.monitoring import Cost
from governance.attest.predicates.parts import Currency
from governance.base.errors import did_you_mean
from governance.base.model import Model, Sha256, Slug, absent, empty
from governance.policy.labelling import ExcludedRater

EntityName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{1,62}$")]
"""A kind of personal data by Presidio's name, e.g. `EMAIL_ADDRESS`, or a name of one's own."""

FindingCode = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{2,62}$")]
"""A code of `governance.attest.codes.CODES`."""

FieldPattern = Annotated[str, Field(min_length=1, max_length=100)]
"""The name of a source's field, or a pattern with `*`, `?` and `[]`."""

Score = Annotated[float, Field(ge=0, le=1)]

HourPrice = Annotated[float, Field(ge=0, le=1e6)]

NotBlank = Annotated[str, StringConstraints(pattern=r"\S", max_length=200)]

LONGEST_ALLOWANCE = timedelta(days=731)
"""Two years. Then somebody has to decide again."""

NO_MODEL = ("none", "name-list", "tagger")
"""Sources of names that are no model, as `ner` of a scan."""

PiiAction = Literal["block", "drop", "redact", "allow"]
"""Refuse the dataset, leave the record out, replace what was found, or keep it (with a reason)."""


class EntityPolicy(Model):
    """What happens where one kind of personal data is found."""

    action: PiiAction
    reason: str = ""
    """Why it may stay; needed with `allow`."""
    threshold: Score | None = None
    """The least score that counts; the policy's threshold when absent."""

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.action == "allow" and not self.reason.strip():
            raise ValueError("allow needs a reason")
        return self


class Allowance(Model):
    """One value that may stay in every dataset until a day, such as a public helpline."""

    value: NotBlank
    """The whole value, as it is found."""
    entity: EntityName
    owner: NotBlank
    """The principal or role that answers for it."""
    reason: NotBlank
    since: date
    until: date
    """Its last day; at most `LONGEST_ALLOWANCE` after `since`."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not timedelta(0) <= self.until - self.since <= LONGEST_ALLOWANCE:
            raise ValueError(f"until: 0 to {LONGEST_ALLOWANCE.days} days after since")
        return self


class PatternRule(Model):
    """One regular expression of a recognizer, with the score a match of it has."""

    name: str
    regex: str
    score: Score = 0.9

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            matches_empty = re.compile(self.regex).match("")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if matches_empty:
            raise ValueError("matches empty text")
        return self


class PatternRecognizer(Model):
    """A recognizer of one's own: customer numbers, API keys, secrets."""

    name: Slug
    entity: EntityName
    patterns: list[PatternRule] = Field(min_length=1)
    context: list[str] = []
    """Words near a match that raise its score."""
    examples: list[Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]] = Field(
        [], exclude_if=empty
    )
    """Made-up values, all different, that scans plant to measure how much is found of them; those
    of no person.
    """


class PiiPolicy(Model):
    """policies/pii.yaml: what is searched for, how sure one must be, and what is done about it."""

    languages: list[Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]] = Field(
        ["en"], min_length=1
    )
    """Every text is searched in each of them. The first is that of texts too short to tell."""
    detect_languages: list[Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]] = Field(
        [], exclude_if=empty
    )
    """A text is searched in one of these, too, where it is written in it. Labels of numbers that
    institutions issue are searched for in all.
    """
    ner: Annotated[
        str, StringConstraints(pattern=r"^(name-list|tagger|(spacy|transformers|onnx):.+)$")
    ] = "name-list"
    """What finds names: `name-list` (low assurance); the list with the light `tagger`; the list
    with a model: `spacy:<folder or package>`, `transformers:<folder>`, `onnx:<folder or package>`.
    """
    require_ner: bool = False
    """Whether a scan without a real model is refused."""
    threshold: Score = 0.35
    """The least score that counts for entities that give none."""
    recognizer_thresholds: dict[str, Score] = {}
    """The least score that counts by recognizer name, e.g. `UsLicenseRecognizer`; the higher of the
    two holds.
    """
    replacement: Literal["entity", "token"] = "entity"
    """`<EMAIL_ADDRESS>`, or `<EMAIL_ADDRESS_b6ac9b2f01>`: the same value gives the same token under
    the record key.
    """
    default: EntityPolicy
    """For every entity not named below."""
    entities: dict[EntityName, EntityPolicy] = {}
    allowances: list[Allowance] = Field([], exclude_if=empty)
    """Values that may stay, whatever the action of their entity is."""
    recognizers: list[PatternRecognizer] = []
    enabled_recognizers: list[str] = []
    """Presidio recognizers that are off by default, by class name, e.g. `UkNinoRecognizer`."""
    disabled_recognizers: list[str] = []
    """Presidio recognizers that are not used; what they alone find is then not among the entities
    searched for.
    """
    phone_regions: list[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]] = Field(
        ["US", "GB", "CA", "FR", "IL", "IN", "BR"], min_length=1
    )
    """Countries whose national phone number formats are known; numbers with a leading + are found
    for all.
    """

    minimum_recall: dict[EntityName, Annotated[float, Field(gt=0, lt=1)]] = Field(
        {}, exclude_if=empty
    )
    """Entity to the share of made-up values, planted in every dataset's own texts, that a scan must
    find of it: the lower end of the 95% interval must reach it. See docs/pii.md.
    """

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [recognizer.name for recognizer in self.recognizers]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(f"recognizer named twice: {', '.join(duplicates)}")
        if len(set(self.known_languages)) != len(self.known_languages):
            raise ValueError("a language is named twice")
        return self

    @property
    def known_languages(self) -> list[str]:
        """`languages`, then `detect_languages`."""
        return [*self.languages, *self.detect_languages]

    def entity(self, name: str) -> EntityPolicy:
        """The policy of one entity: its own, or the default."""
        return self.entities.get(name, self.default)

    @property
    def level(self) -> str:
        """How names are searched for, in words for evidence and reports."""
        levels = {"name-list": "list", "tagger": "list and tagger"}
        return levels.get(self.ner, "list and model")

    def threshold_of(self, entity: str, recognizer: str) -> float:
        """The least score at which a finding of `recognizer` counts."""
        own = self.entity(entity).threshold
        base = self.threshold if own is None else own
        return max(base, self.recognizer_thresholds.get(recognizer, 0.0))


RECORD_CHECKS: dict[str, frozenset[str]] = {
    "expect_column_values_to_be_in_set": frozenset({"value_set"}),
    "expect_column_values_to_not_be_in_set": frozenset({"value_set"}),
    "expect_column_values_to_be_between": frozenset({"min_value", "max_value"}),
    "expect_column_values_to_not_be_null": frozenset(),
}
"""Great Expectations types that judge every record by itself, with the arguments they take (all
take `mostly`).
"""

WHOLE_CHECKS: dict[str, frozenset[str]] = {
    f"expect_column_{what}_to_be_between": frozenset({"min_value", "max_value"})
    for what in (
        "min",
        "max",
        "mean",
        "median",
        "stdev",
        "sum",
        "unique_value_count",
        "proportion_of_unique_values",
    )
} | {"expect_table_row_count_to_be_between": frozenset({"min_value", "max_value"})}
"""Great Expectations types that judge a column or the table as a whole."""

TABLE = "(table)"
"""The column name of a check that judges the table."""


def code_mistake(code: str) -> str:
    """What is wrong with a finding code; empty where it is known."""
    if code in CODES:
        return ""
    similar = did_you_mean(code, CODES)
    return f"unknown code {code!r}" + (f"; {similar}" if similar else "")


class QualityCheck(Model):
    """One expectation on the feature frame (`pipelines.features.table`), by Great Expectations' own
    names.
    """

    name: Slug
    check: str
    """A type of `RECORD_CHECKS` or `WHOLE_CHECKS`."""
    column: str
    """A feature of `pipelines.features.table.FEATURES`, or `(table)`."""
    min_value: float | None = None
    max_value: float | None = None
    value_set: list[bool | int | float | str] | None = None
    mostly: Annotated[float, Field(gt=0, le=1)] | None = None
    """The share of records that must comply; all of them when absent."""
    severity: Literal["critical", "warning"] = "critical"
    action: Literal["block", "drop", "report"]
    """Refuse the dataset, leave the offending records out, or only say so."""
    reason: FindingCode
    """The code that excluded records and findings carry."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        checks = RECORD_CHECKS | WHOLE_CHECKS
        if self.check not in checks:
            raise ValueError(f"unknown check {self.check!r}; one of: {', '.join(sorted(checks))}")
        arguments = {
            name
            for name in ("min_value", "max_value", "value_set")
            if getattr(self, name) is not None
        }
        self._arguments(arguments, checks[self.check])
        if (self.column == TABLE) != self.check.startswith("expect_table_"):
            raise ValueError(f"column {TABLE!r} goes with expect_table_... and with nothing else")
        if self.check not in RECORD_CHECKS and (self.action == "drop" or self.mostly is not None):
            raise ValueError(
                "action drop and mostly need a check that judges every record by itself"
            )
        if self.action == "drop" and self.mostly is not None:
            raise ValueError(
                "action drop leaves every offending record out: mostly has no meaning beside it"
            )
        if mistake := code_mistake(self.reason):
            raise ValueError(mistake)
        if (self.severity == "warning") != (self.action == "report"):
            raise ValueError(
                "severity warning goes with action report, and critical with block and drop"
            )
        return self

    def _arguments(self, arguments: set[str], takes: frozenset[str]) -> None:
        if arguments - takes:
            raise ValueError(f"{self.check} takes no {', '.join(sorted(arguments - takes))}")
        if takes and not arguments:
            raise ValueError(f"{self.check} needs {' or '.join(sorted(takes))}")

    @property
    def names_records(self) -> bool:
        """Whether the result names the records that fail."""
        return self.check in RECORD_CHECKS

    @property
    def needs_value(self) -> bool:
        """Whether a result without an observed value is none."""
        return not self.names_records

    def read_columns(self) -> list[str]:
        """The columns that it reads."""
        return [] if self.column == TABLE else [self.column]

    def gx_arguments(self) -> dict[str, Any]:
        """What Great Expectations' class takes."""
        given = self.model_dump(
            include={"min_value", "max_value", "value_set", "mostly"}, exclude_none=True
        )
        return given if self.column == TABLE else {**given, "column": self.column}


class GxSuiteFile(Model):
    """A suite in Great Expectations' own JSON, beside the YAML file (docs/quality.md)."""

    file: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}\.json$")]
    """Its name in policies/quality/."""
    sha256: Sha256
    """Of the file. DVC follows the YAML file only, so that a changed suite has to change this."""


class QualitySuite(Model):
    """policies/quality/NAME.yaml: what a dataset must be like before it trains."""

    kind: Literal["conversation", "preference", "unpaired", "prompt", "rated"]
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Jaccard similarity of word 3-grams from which two records count as near-duplicates."""
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")] | None = None
    """What the feature `language_expected` compares with (ISO 639-1)."""
    great_expectations: GxSuiteFile | None = Field(None, exclude_if=absent)
    """More expectations, in Great Expectations' own format."""
    expectations: Annotated[list[QualityCheck], Field(min_length=1)] = []
    """With those of the file, once the policies are read."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [check.name for check in self.expectations]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(f"expectation named twice: {', '.join(duplicates)}")
        if self.great_expectations is not None:
            return self  # judged with the expectations of the file
        if not self.expectations:
            raise ValueError("give expectations, or great_expectations: {file, sha256}")
        if not any(check.action != "report" for check in self.expectations):
            raise ValueError("nothing in this suite can refuse or leave out anything")
        return self


class IngestPolicy(Model):
    """policies/policy.yaml, `ingest`: what happens to rows of a source that cannot become
    records.
    """

    malformed: Literal["drop", "block"] = "block"
    """Leave such rows out, each with its reason; or refuse a source that has any."""
    max_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """With `drop`: the largest share of the source's rows that may be left out; more, and the
    source is refused.
    """
    ignored_fields: dict[Slug, list[FieldPattern]] | None = None
    """Dataset to the fields of its source that no record keeps and that may be left out, by name or
    pattern (`meta_*`, `messages.name`). A source with any other such field is refused. Gates check
    it, except where the key is absent, as in older policies.
    """

    excluded_raters: dict[Slug, list[ExcludedRater]] = Field({}, exclude_if=empty)
    """Dataset to the raters whose ratings do not count. Nobody is excluded without a decision."""

    def excluded(self, dataset: str) -> list[ExcludedRater]:
        """The raters whose ratings of this dataset do not count."""
        return self.excluded_raters.get(dataset, [])

    def ignored(self, dataset: str) -> list[str]:
        """The names and patterns of the fields of this dataset that may be left out."""
        return (self.ignored_fields or {}).get(dataset, [])

    def not_permitted(self, dataset: str, unused: Mapping[str, int]) -> dict[str, int]:
        """Those of the fields that an ingest statement calls unused that may not be left out."""
        patterns = self.ignored(dataset)
        return {
            name: count
            for name, count in unused.items()
            if not any(fnmatchcase(name, pattern) for pattern in patterns)
        }


class TrainingRules(Model):
    """policies/policy.yaml, `training`: how many of its records a training may lose, and what a
    device costs.
    """

    max_dropped_share: Score | None = None
    """The largest share of the training records that may be left out; no limit where absent."""
    max_truncated_share: Score | None = None
    """The largest share that may be cut to `max_length`; no limit where absent."""
    currency: Currency | None = Field(None, exclude_if=absent)
    """Of the prices."""
    device_hour: dict[Slug, HourPrice] = Field({}, exclude_if=empty)
    """Kind of device, as torch names it (cpu, cuda), to the price of one for an hour. Evidence of a
    training states its cost by it; nothing is decided by it.
    """

    def cost(self, device: str, hours: float) -> Cost | None:
        """What so many hours of a kind of device cost; None without a price."""
        price = self.device_hour.get(device)
        if price is None or self.currency is None:
            return None
        return Cost(currency=self.currency, millionths=round(hours * price * 1e6))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.device_hour and self.currency is None:
            raise ValueError("prices have a currency, e.g. currency: EUR")
        return self
