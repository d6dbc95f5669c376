"""The PII scan: each action does what policy says, what was written is searched again, and no
report holds text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from governance.attest.predicates import Planted, Scan
from governance.base.errors import ConfigError
from governance.policy.data import PiiPolicy
from pipelines import json_texts, samples
from pipelines.job import Outcome
from pipelines.params import load_params
from pipelines.pii import scan
from pipelines.pii import search as pii_search
from pipelines.pii.engine import PlainEngine, Span
from pipelines.pii.scan import Tally, Treated, redact, significant, treat
from pipelines.pii.search import Found, Search
from pipelines.pii.seeds import seeds
from pipelines.records import read_excluded
from pipelines.shards import SHARD_RECORDS, read_records
from pipelines.stages import scan_pii
from pipelines.texts import texts
from tests.conftest import ROOT
from tests.pipelines.jobs import job
from tests.pipelines.policies import pii, shipped_pii
from tests.pipelines.tables import (
    answer,
    contents_of,
    conversations,
    ingested,
    said,
    table,
    write_records,
)

MAIL = "Write to anna@example.com."


@dataclass
class Done(Treated):
    table: pa.Table = None


def treated(records: pa.Table, kind: str, policy: PiiPolicy) -> Done:
    with Search(PlainEngine(policy, ROOT), None, b"") as search:
        return treated_by(search, records, kind, policy)


def treated_by(search: Search, records: pa.Table, kind: str, policy: PiiPolicy) -> Done:
    done = Done()
    done.table = treat(records, kind, policy, search, b"key", done)
    return done


def contents(records: pa.Table, kind: str) -> list[str]:
    return [one.text for one in texts(records, kind)]


# --- actions --------------------------------------------------------------------------------------

TWO = conversations(said(MAIL, "Done."), said("My router hums.", "Restart it."))


def email(action: str, **more: Any) -> PiiPolicy:
    reason = {"reason": "it is the shop's own address"} if action == "allow" else {}
    return pii(entities={"EMAIL_ADDRESS": {"action": action, **reason}}, **more)


def test_redact_replaces_what_was_found_and_nothing_else() -> None:
    done = treated(TWO, "conversation", email("redact"))
    assert contents(done.table, "conversation") == [
        "Write to <EMAIL_ADDRESS>.",
        "Done.",
        "My router hums.",
        "Restart it.",
    ]
    assert done.table.column("id") == TWO.column("id")
    assert not done.excluded


def test_drop_leaves_the_record_out_with_its_reason() -> None:
    done = treated(TWO, "conversation", email("drop"))
    assert contents(done.table, "conversation") == ["My router hums.", "Restart it."]
    assert [(one.row, one.reason, one.detail) for one in done.excluded] == [
        (1, "PII_DROPPED", "EMAIL_ADDRESS")
    ]


def test_block_changes_nothing_and_is_counted() -> None:
    done = treated(TWO, "conversation", email("block"))
    assert contents(done.table, "conversation") == contents(TWO, "conversation")
    (finding,) = scan.findings("d", email("block"), done.found, Tally())
    assert (finding.code, finding.found) == ("PII_BLOCKED", "1")


def test_a_blocked_entity_counts_even_in_a_record_that_is_dropped() -> None:
    policy = pii(entities={"EMAIL_ADDRESS": {"action": "block"}, "IP_ADDRESS": {"action": "drop"}})
    done = treated(
        conversations(said(f"{MAIL} It is at 192.0.2.17.", "ok")), "conversation", policy
    )
    assert done.table.num_rows == 0
    assert [one.code for one in scan.findings("d", policy, done.found, Tally())] == ["PII_BLOCKED"]


def test_allow_keeps_it_and_counts_it() -> None:
    may_stay = {"action": "allow", "reason": "it is the shop's own address"}
    done = treated(TWO, "conversation", pii(entities={"EMAIL_ADDRESS": may_stay, "URL": may_stay}))
    assert contents(done.table, "conversation") == contents(TWO, "conversation")
    assert done.found.entities["EMAIL_ADDRESS"] == 1


def test_the_default_is_for_every_entity_policy_does_not_name() -> None:
    policy = PiiPolicy.model_validate({"default": {"action": "drop"}})
    assert treated(TWO, "conversation", policy).table.num_rows == 1


def test_tokens_are_stable_under_the_key_and_hold_no_digits() -> None:
    policy = email("redact", replacement="token")
    first = contents(treated(TWO, "conversation", policy).table, "conversation")[0]
    again = contents(treated(TWO, "conversation", policy).table, "conversation")[0]
    assert first == again
    token = first.removeprefix("Write to <EMAIL_ADDRESS_").removesuffix(">.")
    assert len(token) == 10 and token.isalpha()
    span = [Span(9, 25, "EMAIL_ADDRESS", 1.0)]
    assert redact(MAIL, span, policy, b"key") == first != redact(MAIL, span, policy, b"other key")


def test_every_text_of_every_kind_is_searched() -> None:
    rated = {
        "prompt": said(MAIL),
        "completions": [answer(MAIL), answer("fine")],
        "ratings": [{"rater": "r", "value": 1.0}],
    }
    prompts = {"prompt": [*said(("system", MAIL)), *said("hi")], "answer": MAIL}
    for kind, row, fields in (
        ("rated", rated, {"prompt[].content": 1, "completions[][].content": 1}),
        ("prompt", prompts, {"prompt[].content": 1, "answer": 1}),
        (
            "preference",
            {"prompt": said("a"), "chosen": answer("b"), "rejected": answer(MAIL)},
            {"rejected[].content": 1},
        ),
        (
            "unpaired",
            {"prompt": said("a"), "completion": answer(MAIL), "label": True},
            {"completion[].content": 1},
        ),
    ):
        done = treated(table(kind, row), kind, email("redact"))
        assert done.found.fields["EMAIL_ADDRESS"] == fields
        assert not any("anna" in text for text in contents(done.table, kind))


def test_calls_thinking_and_columns_of_json_are_searched_and_stay_json() -> None:
    call = [{"name": "send", "arguments": {"to": MAIL, "anna@example.com": [1.5]}}]
    thought = {"thinking": MAIL, "tool_calls": json_texts.dumps(call)}
    row = {
        "prompt": [*said("hi"), {"role": "assistant", "content": "", **thought}],
        "tools": json_texts.dumps([{"type": "function", "function": {"name": "send"}}]),
        "turns": json_texts.dumps([MAIL]),
        "extra": json_texts.dumps({"tests": [MAIL], "limit": 3}),
    }
    done = treated(table("prompt", row), "prompt", email("redact"))
    assert done.found.fields["EMAIL_ADDRESS"] == {
        "prompt[].thinking": 1,
        "prompt[].tool_calls[].arguments[]": 1,
        "prompt[].tool_calls[].arguments[].key": 1,
        "turns[]": 1,
        "extra.tests[]": 1,
    }
    record = done.table.to_pylist()[0]
    found = json.loads(record["prompt"][1]["tool_calls"])[0]["arguments"]
    assert found == {"to": "Write to <EMAIL_ADDRESS>.", "<EMAIL_ADDRESS>": [1.5]}
    assert record["tools"] == row["tools"]
    assert json.loads(record["extra"])["limit"] == 3


# --- findings that overlap ------------------------------------------------------------------------


def test_a_finding_inside_a_surer_one_is_part_of_it() -> None:
    spans = (Span(0, 20, "EMAIL_ADDRESS", 1.0), Span(5, 20, "URL", 0.5), Span(30, 40, "URL", 0.5))
    assert [one.start for one in significant(spans, pii())] == [0, 30]
    assert len(significant(spans, email("allow"))) == 3, "what may stay hides nothing"
    less_sure = (Span(0, 20, "URL", 0.5), Span(5, 20, "API_KEY", 0.9))
    assert len(significant(less_sure, pii())) == 2


def test_overlapping_redactions_become_one() -> None:
    spans = [Span(0, 5, "US_SSN", 0.4), Span(3, 9, "PHONE_NUMBER", 0.9), Span(9, 11, "URL", 0.5)]
    assert redact("0123456789a end", spans, pii(), b"") == "<PHONE_NUMBER><URL> end"


# --- what is left ---------------------------------------------------------------------------------


class Stubborn(Search):
    """Finds `secret` wherever it stands, and a name that only shows once something beside it was
    redacted.
    """

    def __init__(self) -> None:
        super().__init__(PlainEngine(pii(), ROOT), None, b"")

    def find(self, texts: Any) -> list[Found]:
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Found:
        if "unsearchable" in text:
            return Found(problem="a pattern took longer than 10 s")
        for word, entity in (("secret", "PASSWORD"), ("<PASSWORD> Quux", "PERSON")):
            if word in text:
                return Found((Span(text.index(word), text.index(word) + len(word), entity, 0.9),))
        return Found()


def test_treatment_is_repeated_until_nothing_is_left() -> None:
    done = treated_by(
        Stubborn(), conversations(said("ask secret Quux", "ok")), "conversation", pii()
    )
    assert contents(done.table, "conversation") == ["ask <PERSON>", "ok"]


def test_a_record_that_could_not_be_searched_is_left_out() -> None:
    records = conversations(said("unsearchable", "ok"), said("a", "b"))
    done = treated_by(Stubborn(), records, "conversation", pii())
    assert contents(done.table, "conversation") == ["a", "b"]
    assert [(one.field, one.reason) for one in done.excluded] == [
        ("messages[0].content", "PII_UNSCANNED")
    ]


def test_what_is_left_in_what_was_written_refuses_the_dataset() -> None:
    endless = pii(entities={"PASSWORD": {"action": "redact"}})

    class Endless(Stubborn):
        def _one(self, text: str) -> Found:
            return Found((Span(0, 1, "PASSWORD", 0.9),))

    done = treated_by(Endless(), conversations(said("a", "b")), "conversation", endless)
    left = scan.examine(done.table, "conversation", endless, Endless())
    (finding,) = scan.findings("d", endless, done.found, left)
    assert (finding.code, finding.found) == ("PII_REMAINING", "2") and "PASSWORD" in finding.message


# --- the allow-list, and duplicates ---------------------------------------------------------------

HELPLINE = {"value": "0800 111 111 22", "entity": "PHONE_NUMBER"}
ANSWERED = {"owner": "data-steward", "reason": "a public helpline", "since": "2026-01-01"}


class Phones(Stubborn):
    """Finds every run of digits and signs as a telephone number."""

    def _one(self, text: str) -> Found:
        matches = re.finditer(r"\+?\d[\d -]+\d", text)
        return Found(tuple(Span(*match.span(), "PHONE_NUMBER", 0.8) for match in matches))


def test_a_value_on_the_allow_list_stays_and_is_counted_by_its_entry() -> None:
    entry = {**HELPLINE, **ANSWERED, "until": "2027-01-01"}
    other = {**entry, "value": "0800 999 999 99"}
    policy = pii(allowances=[other, entry], entities={"PHONE_NUMBER": {"action": "redact"}})
    records = conversations(said("Call 0800-111-111-22 or 0800 111 111 23.", "ok"))
    done = treated_by(Phones(), records, "conversation", policy)
    assert contents(done.table, "conversation")[0] == "Call 0800-111-111-22 or <PHONE_NUMBER>."
    left = scan.examine(done.table, "conversation", policy, Phones())
    assert done.found.entities == {"PHONE_NUMBER": 1} and not left.entities
    assert scan._allowances(policy, left) == [
        {"entry": 2, "entity": "PHONE_NUMBER", "until": "2027-01-01", "findings": 1}
    ]


def test_an_entry_allows_its_own_entity_alone() -> None:
    entry = {**HELPLINE, **ANSWERED, "until": "2027-01-01", "entity": "US_SSN"}
    records = conversations(said("Call 0800 111 111 22.", "ok"))
    done = treated_by(Phones(), records, "conversation", pii(allowances=[entry]))
    assert contents(done.table, "conversation")[0] == "Call <PHONE_NUMBER>."


@pytest.mark.parametrize(
    "wrong",
    [
        {"until": "2028-06-01"},
        {"until": "2025-12-31"},
        {"until": "2027-01-01", "owner": " "},
        {"until": "2027-01-01", "reason": ""},
    ],
)
def test_an_entry_needs_owner_reason_and_an_end_within_two_years(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        pii(allowances=[{**HELPLINE, **ANSWERED, **wrong}])


def test_records_that_redaction_makes_equal_are_counted() -> None:
    turns = [said(f"Call 0800 111 111 {end}.", "ok") for end in (22, 23, 24)]
    records = conversations(*turns, said("Hello.", "ok"))
    done = treated_by(Phones(), records, "conversation", pii())
    assert done.merged == 2
    again = table("conversation", *({"id": "0" * 32, "messages": turns[0]} for _ in range(2)))
    assert treated_by(Phones(), again, "conversation", pii()).merged == 0
    by_token = treated_by(Phones(), records, "conversation", pii(replacement="token"))
    assert by_token.merged == 0


# --- the stage ------------------------------------------------------------------------------------


def run(
    tmp_path: Path, records: pa.Table, kind: str, policy: PiiPolicy, shard: int = SHARD_RECORDS
) -> tuple[Outcome, Path]:
    params = load_params(ROOT)
    row = params.datasets["desk_sft"].model_copy(update={"kind": kind})
    params = params.model_copy(update={"datasets": {"d": row}})
    folder = tmp_path / "data" / "ingested" / "d"
    write_records(folder / "records", records, kind, shard)
    policies = SimpleNamespace(pii=policy, pii_digest="0" * 64)
    made = tmp_path / "made"
    outcome = scan_pii.run(
        job(scan_pii, "scan_pii", "d", tmp_path, made, params, policies=policies)
    )
    return outcome, made / "data" / "scanned" / "d"


def evidence(outcome: Outcome) -> Scan:
    """The outcome's predicate as a statement would have it."""
    digest = "0" * 64
    now = "2026-11-20T12:00:00Z"
    common = {
        "stage": "scan_pii@d",
        "inputs": [],
        "parameters": {},
        "policy": digest,
        "code": {"commit": None, "dirty": True},
        "environment": {"python": "3", "platform": "x", "versions": {}, "distributions": digest},
        "run": {
            "started": now,
            "finished": now,
            "seconds": 0,
            "requested_by": {"name": "ada", "authenticated": False},
        },
    }
    return Scan.model_validate({**common, **outcome.predicate})


@pytest.mark.slow
def test_reports_and_evidence_say_what_was_done_and_hold_no_text(tmp_path: Path) -> None:
    outcome, folder = run(tmp_path, TWO, "conversation", shipped_pii())
    said_of_it = evidence(outcome)
    assert said_of_it.passed and not outcome.refused
    assert said_of_it.found == {"EMAIL_ADDRESS": 1} and said_of_it.remaining == {}
    assert (
        said_of_it.actions["CREDIT_CARD"] == "drop" and said_of_it.actions["IP_ADDRESS"] == "redact"
    )
    assert said_of_it.engine["ner"] == "tagger" and said_of_it.cannot_find
    assert said_of_it.counts.records_in == said_of_it.counts.records_out == 2
    report = json.loads((folder / "report.json").read_text())
    assert report["records"] == {"EMAIL_ADDRESS": [TWO.column("id")[0].as_py()]}
    everything = "".join(
        (folder / name).read_text() for name in ("report.json", "report.md", "excluded.jsonl")
    )
    assert "anna" not in everything + said_of_it.model_dump_json() and "router" not in everything
    assert "list and tagger" in everything


@pytest.mark.slow
def test_an_allowed_value_stands_in_no_report(tmp_path: Path) -> None:
    mail = {"value": "Anna@example.com", "entity": "EMAIL_ADDRESS", "until": "2027-01-01"}
    policy = email("redact", allowances=[{**mail, **ANSWERED}])
    policy = policy.model_copy(update={"default": shipped_pii().entities["URL"]})
    outcome, folder = run(tmp_path, TWO, "conversation", policy)
    (allowed,) = evidence(outcome).allowances
    assert (allowed.entry, allowed.findings) == (1, 1) and not evidence(outcome).merged
    page = (folder / "report.md").read_text()
    assert "1 EMAIL_ADDRESS stay by entry 1 of the allow-list, until 2027-01-01" in page
    assert "anna" not in (page + (folder / "report.json").read_text()).lower()


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_with_and_without_the_cache(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        outcome, folder = run(tmp_path, TWO, "conversation", shipped_pii())
        made.append(contents_of(folder))
    assert made[0] == made[1]
    assert outcome.detail == {"texts_searched": 0}, "the second run searched nothing"


@pytest.mark.slow
def test_a_killed_scan_goes_on_and_an_added_record_changes_its_shard_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [said(f"Text {n} is of a{n}@example.com.", f"Answer {n}.") for n in range(21)]
    monkeypatch.setattr(scan, "ROW_GROUP", 5)
    find, calls = Search.find, iter(range(100))

    def killed(search: Search, many: Sequence[str]) -> list[Found]:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return find(search, many)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Search, "find", killed)
        run(tmp_path, conversations(*turns[:20]), "conversation", pii(), shard=10)
    resumed, folder = run(tmp_path, conversations(*turns[:20]), "conversation", pii(), shard=10)
    before = contents_of(folder / "records")
    added, _ = run(tmp_path, conversations(*turns), "conversation", pii(), shard=10)
    after = contents_of(folder / "records")
    assert {name for name in after if after[name] != before.get(name)} == {
        "00002.parquet",
        "manifest.json",
    }

    monkeypatch.setattr(pii_search, "CORES_PAY", 1)  # several processes, nothing in the cache
    monkeypatch.setattr(pii_search, "CHUNK", 7)
    whole, other = run(tmp_path / "b", conversations(*turns), "conversation", pii(), shard=10)
    assert contents_of(other) == contents_of(folder)
    searched = [one.detail["texts_searched"] for one in (added, resumed, whole)]
    assert 0 < searched[0] <= searched[1] < searched[2] - 10


@pytest.mark.slow
def test_a_blocked_entity_refuses_the_dataset(tmp_path: Path) -> None:
    leak = conversations(said("-----BEGIN PRIVATE KEY-----", "ok"))
    outcome, folder = run(tmp_path, leak, "conversation", shipped_pii())
    assert [one.code for one in outcome.refused] == ["PII_BLOCKED"]
    assert outcome.predicate["passed"] is False
    assert "PII_BLOCKED" in (folder / "report.md").read_text()


@pytest.mark.slow
def test_a_scan_without_a_model_is_refused_where_policy_demands_one(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, TWO, "conversation", email("redact", require_ner=True))
    assert [one.code for one in outcome.refused] == ["NER_REQUIRED"]


def test_a_scan_that_finds_less_than_policy_demands_is_refused(tmp_path: Path) -> None:
    outcome, folder = run(
        tmp_path, TWO, "conversation", email("redact", minimum_recall={"PERSON": 0.8})
    )
    (finding,) = outcome.refused
    assert finding.code == "RECALL_TOO_LOW" and outcome.predicate["passed"] is False
    assert finding.found.startswith("PERSON: 0.480 [0.300, 0.665], n=25")
    assert "RECALL_TOO_LOW" in (folder / "report.md").read_text()


def test_recall_stands_in_evidence_and_reports_and_what_was_planted_in_neither(
    tmp_path: Path,
) -> None:
    outcome, folder = run(tmp_path, TWO, "conversation", shipped_pii())
    measured = evidence(outcome).recall
    assert measured is not None and measured.texts == 4
    assert measured.entities["PERSON"] == Planted(planted=25, found=21)
    figures = json.loads((folder / "report.json").read_text())["recall"]
    assert figures["entities"]["PERSON"] == {
        "planted": 25,
        "found": 21,
        "low": 0.6535,
        "high": 0.936,
    }
    assert "| PERSON | 25 | 21 | 0.65 to 0.94 |" in (folder / "report.md").read_text()
    everything = (
        "".join(path.read_text() for path in folder.glob("report.*"))
        + evidence(outcome).model_dump_json()
    )
    assert not [
        one.value for one in seeds(shipped_pii(), measured.entities) if one.value in everything
    ]
    records = read_records(folder / "records")
    assert contents(records, "conversation")[0].startswith("Write to <EMAIL_ADDRESS_"), (
        "the dataset itself has none of it"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"entities": {"EMAIL": {"action": "drop"}}},
        {"recognizer_thresholds": {"PhoneRecogniser": 0.5}},
        {"minimum_recall": {"EMAIL": 0.5}},
        {"allowances": [{**HELPLINE, **ANSWERED, "entity": "PHONE", "until": "2027-01-01"}]},
    ],
)
def test_a_mistyped_name_in_policy_is_an_error(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no recognizer finds"):
        run(tmp_path, TWO, "conversation", pii(**wrong))


def test_no_records_pass_through(tmp_path: Path) -> None:
    outcome, folder = run(tmp_path, TWO.slice(0, 0), "conversation", shipped_pii())
    assert not outcome.refused and read_records(folder / "records").num_rows == 0


# --- the sample data ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "desk_text",
        "desk_sft",
        "desk_pref",
        "desk_judged",
        "desk_prompts",
        "desk_rated",
        "desk_eval",
    ],
)
def test_everything_planted_is_found_and_nothing_else(name: str, tmp_path: Path) -> None:
    params, policy = load_params(ROOT), shipped_pii()
    records = ingested(params, name, tmp_path)
    with Search(PlainEngine(policy, ROOT), None, b"") as search:
        done = treated_by(search, records, params.datasets[name].kind, policy)
        left = scan.examine(done.table, params.datasets[name].kind, policy, search)
    row_of = dict(
        zip(records.column("id").to_pylist(), records.column("row").to_pylist(), strict=True)
    )
    found = {(row_of[one], entity) for entity, ids in done.found.records.items() for one in ids}
    part = params.samples[name]
    planted = {
        (one.line, one.entity)
        for one in samples.planted(part.part, part.n, part.seed)
        if one.what == "pii"
    }
    assert planted <= found
    assert {line for line, _ in found} == {line for line, _ in planted}, (
        "nothing is found where nothing was planted"
    )
    assert not left.entities
    assert {one.row for one in done.excluded} == {
        line for line, entity in planted if entity == "CREDIT_CARD"
    }


@pytest.mark.slow
def test_the_stage_reads_back_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that reaches the file untreated is seen, whatever treatment believed."""
    monkeypatch.setattr(scan, "redact", lambda text, *_: text)
    outcome, _ = run(tmp_path, TWO, "conversation", shipped_pii())
    assert [one.code for one in outcome.refused] == ["PII_REMAINING"]


def test_excluded_records_are_written(tmp_path: Path) -> None:
    card = conversations(said("I paid with 4111 1111 1111 1111.", "ok"), said("a", "b"))
    _, folder = run(tmp_path, card, "conversation", shipped_pii())
    assert [(one.row, one.reason) for one in read_excluded(folder / "excluded.jsonl")] == [
        (1, "PII_DROPPED")
    ]
