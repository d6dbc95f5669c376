"""What a version did in service, window by window: counts and sums only (docs/monitoring.md)."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from governance.attest.predicates.parts import Currency, Instant, Logged, Run, evidence_kind
from governance.base.model import Model, Sha256, Slug, empty
from governance.base.time import instant_of

BOUNDS_MS = (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 40960, 81920)
"""Upper bounds of the latency buckets, in milliseconds: those that the OpenTelemetry semantic
conventions 1.37.0 advise for `gen_ai.server.request.duration`. The last bucket has no bound.
"""
LENGTHS = (
    *(16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 2896, 4096, 5793),
    *(8192, 11585, 16384, 23170, 32768, 46341, 65536, 92682, 131072),
)
"""Upper bounds of the buckets of lengths: powers of the square root of 2. The last bucket has no
bound.
"""
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Entity = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{1,62}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]


class Usage(Model):
    """Tokens, as the inference server stated them."""

    answers: Count
    """Answers that stated them. A stream does so only where its caller asks for it."""
    input: Count
    output: Count


class Cost(Model):
    """What was used, by the prices of policy."""

    currency: Currency
    millionths: Count
    """Of one unit of the currency."""


class Feedback(Model):
    """What users said. A comparison counts for both of its versions."""

    up: Count = 0
    down: Count = 0
    preferred: Count = 0
    """Comparisons with another version in which this one was preferred."""
    not_preferred: Count = 0
    ties: Count = 0


class Compared(Model):
    """Comparisons with one other version."""

    version: str
    sha256: Sha256
    preferred: Count = 0
    not_preferred: Count = 0
    ties: Count = 0


class Searched(Model):
    """What a search of a sample of the answers found: the engine of the pipeline, by the policies'
    pii.yaml. An answer counts in the window in which its search ended.
    """

    answers: Count = 0
    """Answers that were searched to their end."""
    left: Count = 0
    """Answers of the sample that were not: too long, too many at a time, or a failure."""
    holding: Count = 0
    """Answers with a finding that pii.yaml does not allow to stay."""
    entities: dict[Entity, Count] = {}
    """Findings by type, those that may stay included."""
    languages: dict[Language, Count] = {}
    """Answers by language, ISO 639-1; `und` where the text is too short to tell."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.holding > self.answers or sum(self.languages.values()) > self.answers:
            raise ValueError("more answers are counted than were searched")
        return self


@evidence_kind("monitoring", not_copied=True, granted=True, optional_for_release=True)
class Monitoring(Logged):
    """One window of one version behind one proxy. The subject is the model."""

    model: Slug
    version: str
    alias: Slug
    """Under which it was served."""
    source: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    """Random id of the proxy's state. It stays the same when the proxy is started again."""
    window: int = Field(ge=1)
    """Its number: source and digest count from 1, without leaving one out."""
    begins: Instant
    ends: Instant
    gap_ms: Count
    """How long, before it began, the proxy did not observe: it was down, or what it had counted was
    lost. 0 where nothing is missing.
    """
    policy: Sha256
    """The policies by which it was made: length and prices."""
    requests: Count
    """Requests to generate or embed that this version's server got."""
    errors: Count
    """Those that failed: status 500 and above, no answer, or an answer that broke off."""
    rejected: Count
    """Those that the server refused as wrong: status 400 to 499."""
    left: Count
    """Those whose caller left before the end."""
    latency: list[Count]
    """Answers by milliseconds from the request to the last byte: one count for each bucket of
    `BOUNDS_MS`, and one beyond. Errors and callers who left are not in it.
    """
    latency_sum_ms: Count
    tokens: Usage
    cost: Cost | None
    """None where policy states no price."""
    refusals: Count
    """Answers that the server itself marked as refused or filtered."""
    read: Count
    """Answers whose content could be read for tokens, refusals and length."""
    characters: Count
    """Sum of the lengths of these."""
    feedback: Feedback
    request_bytes: list[Count] = Field([], exclude_if=empty)
    """Answered requests by the length of their body: one count for each bucket of `LENGTHS`, and
    one beyond. Empty in windows of before it was counted.
    """
    answer_characters: list[Count] = Field([], exclude_if=empty)
    """Answers that could be read, by length, in the same buckets."""
    compared: list[Compared] = Field([], exclude_if=empty)
    """The comparisons of `feedback`, by the other version."""
    searched: Searched | None = Field(None, exclude_if=empty)
    """None where no answer was in the sample."""
    run: Run

    @model_validator(mode="after")
    def _possible(self) -> Self:
        answered = self.requests - self.errors - self.left
        if len(self.latency) != len(BOUNDS_MS) + 1 or sum(self.latency) != answered:
            raise ValueError("the latencies are not those of the answers")
        if self.rejected > answered or self.read > answered or self.refusals > self.read:
            raise ValueError("more is counted than was answered")
        if self.tokens.answers > self.read:
            raise ValueError("more answers state tokens than were read")
        _require_counts(self.request_bytes, answered - self.rejected)
        _require_counts(self.answer_characters, self.read)
        if instant_of(self.ends) < instant_of(self.begins):
            raise ValueError("the window ends before it begins")
        return self


def _require_counts(histogram: Sequence[int], total: int) -> None:
    """Raises `ValueError` unless a histogram of lengths is empty, or has this many counts."""
    if histogram and (len(histogram) != len(LENGTHS) + 1 or sum(histogram) != total):
        raise ValueError("the lengths are not those of the answers")
