"""Public data through the project's own graph. Every defect is counted from the raw files first,
without our code: the gates find exactly these records, the contact strings go, and the report names
them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.records import read_excluded
from pipelines.shards import read_records
from pipelines.texts import texts
from tests.project import Project
from tests.public.__main__ import Size, prepare

pytestmark = pytest.mark.slow

EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", re.IGNORECASE)
PHONE = re.compile(
    r"\(?\b(?!555)\d{3}\)?[-. ]\d{3}[-. ]\d{4}\b"
)  # 555 is no area: such a number is nobody's
Rows = set[int]


def project(data: Path, folder: Path, size: Size) -> Project:
    prepare(data, folder / "project", size)
    return Project(folder / "project", folder / "state")


def left_out(made: Project, stage: str, dataset: str) -> dict[str, Rows]:
    """Finding code to the rows of the source that a stage left out for it."""
    found: dict[str, Rows] = {}
    for one in read_excluded(made.root / f"data/{stage}/{dataset}/excluded.jsonl"):
        found.setdefault(one.reason, set()).add(one.row)
    return found


def rows_of(made: Project, dataset: str, ids: list[str]) -> Rows:
    """Record ids as rows of the source."""
    table = read_records(made.root / f"data/ingested/{dataset}/records")
    known = dict(zip(table.column("id").to_pylist(), table.column("row").to_pylist(), strict=True))
    return {known[one] for one in ids}


def report(made: Project, stage: str, dataset: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (made.root / f"data/{stage}/{dataset}/report.json").read_text()
    )
    return found


def plain(text: str) -> str:
    """As people would say that two texts are the same."""
    return " ".join(text.casefold().split())


# --- hh_rlhf --------------------------------------------------------------------------------------


def pairs(data: Path, start: int, end: int) -> list[dict[str, str]]:
    lines = (data / "hh_rlhf/harmless-base-test.part.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[start:end]]


def turns(transcript: str) -> list[tuple[str, str]]:
    """(speaker, what was said)."""
    parts = re.split(r"(?:^|\n\n)(Human|Assistant):", transcript)
    return [(speaker, said.strip()) for speaker, said in zip(parts[1::2], parts[2::2], strict=True)]


def mismatched(pair: dict[str, str]) -> bool:
    return turns(pair["chosen"])[:-1] != turns(pair["rejected"])[:-1]


def blank(pair: dict[str, str]) -> bool:
    return any(not said for side in pair.values() for _, said in turns(side))


def speaks_twice(pair: dict[str, str]) -> bool:
    speakers = [[speaker for speaker, _ in turns(side)] for side in pair.values()]
    return any(one == other for side in speakers for one, other in pairwise(side))


def given_away(pair: dict[str, str], held_out: list[list[tuple[str, str]]]) -> bool:
    """Asks what a held-out pair asks, or quotes a long last question of one."""
    prompt = [(speaker, plain(said)) for speaker, said in turns(pair["chosen"])[:-1]]
    said = [plain(one) for side in pair.values() for _, one in turns(side)]
    long = [asked[-1][1] for asked in held_out if len(asked[-1][1].split()) >= 8]
    return (
        prompt in held_out
        or prompt[:1] in held_out
        or any(one in text for one in long for text in said)
    )


def numbered(rows: list[dict[str, str]], test: Any) -> Rows:
    return {at for at, row in enumerate(rows, start=1) if test(row)}


@pytest.mark.nightly
def test_hh_rlhf(public_data: Path, tmp_path: Path) -> None:
    made = project(public_data, tmp_path, Size())
    made.made("check_quality@hh_rank", "check_quality@hh_eval")
    train, held_out = pairs(public_data, 0, 1000), pairs(public_data, 1000, 1168)

    wrong = numbered(train, mismatched)
    assert left_out(made, "ingested", "hh_rank") == {"PROMPT_MISMATCH": wrong} and len(wrong) == 1
    assert left_out(made, "ingested", "hh_eval") == {
        "PROMPT_MISMATCH": numbered(held_out, mismatched)
    }

    asked = [
        [(who, plain(said)) for who, said in turns(one["chosen"])[:-1]]
        for one in held_out
        if not mismatched(one)
    ]
    empty = numbered(train, blank) - wrong
    doubled = numbered(train, speaks_twice) - wrong - empty
    leaks = numbered(train, lambda pair: given_away(pair, asked)) - wrong - empty - doubled
    out = left_out(made, "ready", "hh_rank")
    assert (out["EMPTY_TEXT"], out["ROLES_OUT_OF_ORDER"], len(out), len(empty)) == (
        empty,
        doubled,
        3,
        3,
    ) and doubled

    found = report(made, "scanned", "hh_rank")["records"]
    assert leaks and leaks <= out["LEAK_HELD_OUT"]
    # Two questions that differ in a name only are the same question once names are redacted.
    assert out["LEAK_HELD_OUT"] - leaks <= rows_of(made, "hh_rank", found["PERSON"])
    for entity, pattern in {"EMAIL_ADDRESS": EMAIL, "PHONE_NUMBER": PHONE}.items():
        raw = (
            numbered(
                train,
                lambda pair, pattern=pattern: pattern.search(pair["chosen"] + pair["rejected"]),
            )
            - wrong
        )
        assert raw and raw <= rows_of(made, "hh_rank", found[entity])
    ready = read_records(made.root / "data/ready/hh_rank/records")
    assert not any(
        EMAIL.search(one.text) or PHONE.search(one.text) for one in texts(ready, "preference")
    )
    assert_nothing_quoted(made, train)


def assert_nothing_quoted(made: Project, rows: list[dict[str, str]]) -> None:
    """No report and no list of excluded records holds a contact string of the data."""
    contacts = {
        found
        for row in rows
        for side in row.values()
        for found in [*EMAIL.findall(side), *PHONE.findall(side)]
    }
    said = "".join(path.read_text(encoding="utf-8") for path in reports(made.root))
    assert contacts and not any(contact in said for contact in contacts)


def reports(root: Path) -> Iterator[Path]:
    for pattern in (
        "data/*/*/report.*",
        "data/*/*/excluded.jsonl",
        "reports/**/*.md",
        "reports/*.html",
        "reports/*.json",
    ):
        yield from root.glob(pattern)


# --- pandalm --------------------------------------------------------------------------------------

ANSWERS = ("response1", "response2")


def judgements(data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        (data / "pandalm/testset-v1.part.json").read_text(encoding="utf-8")
    )
    return found


def no_text(row: dict[str, Any]) -> bool:
    return any(not isinstance(row[name], str) for name in ANSWERS)


def nominal_alpha(units: list[list[int]]) -> float:
    """Krippendorff's alpha where everybody rated everything, from its definition."""
    size = len(units[0])
    observed = sum(one != other for unit in units for one in unit for other in unit) / (size - 1)
    counts = Counter(value for unit in units for value in unit)
    total = sum(counts.values())
    chance = sum(
        counts[one] * counts[other] for one in counts for other in counts if one != other
    ) / (total - 1)
    return 1 - observed / chance


@pytest.mark.nightly
def test_pandalm(public_data: Path, tmp_path: Path) -> None:
    made = project(public_data, tmp_path, Size())
    made.made("check_quality@pandalm")
    rows = judgements(public_data)
    not_text = numbered(rows, no_text)
    assert (
        left_out(made, "ingested", "pandalm") == {"FIELD_NOT_TEXT": not_text} and len(not_text) == 6
    )
    empty = numbered(
        rows, lambda row: not no_text(row) and any(not row[name].strip() for name in ANSWERS)
    )
    said: set[tuple[str, ...]] = set()
    repeated = set()
    for at, row in enumerate(rows, start=1):
        if at not in not_text | empty:
            key = tuple(plain(row[name]) for name in ("instruction", "input", *ANSWERS))
            repeated |= {at} if key in said else set()
            said.add(key)
    assert left_out(made, "ready", "pandalm") == {"EMPTY_TEXT": empty, "DUPLICATE": repeated}
    assert len(empty) == 10 and len(repeated) > 40

    kept = [row for at, row in enumerate(rows, start=1) if at not in not_text | empty | repeated]
    alpha = nominal_alpha([[row[f"annotator{rater}"] for rater in (1, 2, 3)] for row in kept])
    judged = {one["name"]: one for one in report(made, "ready", "pandalm")["expectations"]}
    assert (
        float(judged["agreement-estimate"]["observed"]) == pytest.approx(alpha, abs=1e-5)
        and alpha > 0.8
    )
    assert 0.75 < float(judged["agreement"]["observed"]) < alpha


def test_pandalm_is_refused_where_policy_blocks_malformed_rows(
    public_data: Path, tmp_path: Path
) -> None:
    made = project(public_data, tmp_path, Size())
    policy = made.root / "policies/policy.yaml"
    text = policy.read_text(encoding="utf-8")
    policy.write_text(
        text.replace("malformed: drop, max_share: 0.05", "malformed: block"), encoding="utf-8"
    )
    done = made.repro("ingest@pandalm")
    assert done.code == 4 and "FIELD_NOT_TEXT pandalm" in done.out and "6 of 490 rows" in done.out
    assert not (made.root / "data/ingested/pandalm").exists()
    kept = read_excluded(made.root / "reports/ingest/pandalm/excluded.jsonl")
    assert {one.row for one in kept} == numbered(judgements(public_data), no_text)


# --- gsm8k ----------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_gsm8k(public_data: Path, tmp_path: Path) -> None:
    """Nothing is lost of a clean set, no result of a sum is taken for a telephone number, and a
    leak is found.
    """
    made = project(public_data, tmp_path, Size(gsm8k=6950))
    lines = (public_data / "gsm8k/train.jsonl").read_text(encoding="utf-8").split("\n")
    with (made.root / "data/source/gsm8k.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(f"{lines[7000]}\n")
    made.made("check_quality@gsm8k_prompts")
    assert (
        left_out(made, "ingested", "gsm8k_prompts")
        == left_out(made, "scanned", "gsm8k_prompts")
        == {}
    )
    assert left_out(made, "ready", "gsm8k_prompts") == {"LEAK_HELD_OUT": {6951}}
    ready = read_records(made.root / "data/ready/gsm8k_prompts/records")
    results = [json.loads(line)["answer"].rpartition("####")[2] for line in lines[:6950]]
    assert [
        answer.rpartition("####")[2] for answer in ready.column("answer").to_pylist()
    ] == results


# --- the whole graph ------------------------------------------------------------------------------

SMALL = Size(gsm8k=400, gsm8k_eval=100, hh=200, hh_eval=80, max_steps=25)
DECIDED_ANEW = {"import_base", "gate", "register", "report"}


@pytest.mark.nightly
@pytest.mark.long
def test_the_whole_graph(public_data: Path, tmp_path: Path) -> None:
    made = project(public_data, tmp_path, SMALL)
    said = made.made()
    assert "public-trial version 1 is candidate" in said
    lists = [f"data/{stage}/hh/excluded.jsonl" for stage in ("ingested", "ready")]
    excluded = [one for path in lists for one in read_excluded(made.root / path)]
    page = (made.root / "reports/public-trial-1.html").read_text(encoding="utf-8")
    assert excluded and all((one.id or f"{one.file}:{one.row}")[:12] in page for one in excluded)
    assert_nothing_quoted(made, pairs(public_data, 0, 280))

    prepare(public_data, made.root, SMALL)
    again = re.findall(r"Running stage '(\w+)", made.made())
    assert set(again) == DECIDED_ANEW, again
    verified = made.countersign("verify")
    assert verified.code == 0 and "EVIDENCE VERIFIES" in verified.out, verified.out
