"""Ingest: what was planted is found and named, nothing else is lost, policy decides, and no text
leaks into reports.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from governance.attest.codes import CODES
from governance.attest.predicates import DataCounts, Finding
from governance.base.errors import ConfigError, InputError
from governance.policy.data import IngestPolicy
from pipelines import samples
from pipelines.job import Outcome
from pipelines.params import Dataset, Params, RecordKey, load_params
from pipelines.record_ids import key_id_of
from pipelines.records import read_excluded
from pipelines.shards import read_records
from pipelines.slices import read_slices
from pipelines.sources.readers import source_files
from pipelines.stages import ingest
from pipelines.texts import texts
from tests.conftest import ROOT
from tests.pipelines.ingesting import DROP, dataset, job, jsonl
from tests.pipelines.tables import contents_of

KINDS = {
    "text": "conversation",
    "conversations": "conversation",
    "preferences": "preference",
    "preferences_held_out": "preference",
    "judgements": "unpaired",
    "prompts": "prompt",
    "prompts_held_out": "prompt",
    "ratings": "rated",
    "safety_preferences": "preference",
    "unsafe_held_out": "prompt",
    "look_alikes_held_out": "prompt",
    "short_questions": "prompt",
    "opinions": "prompt",
}

REASONS = {
    "text_is_true": {"FIELD_NOT_TEXT"},
    "text_is_null": {"FIELD_NOT_TEXT"},
    "missing_field": {"FIELD_MISSING"},
    "not_an_object": {"ROW_NOT_OBJECT"},
    "broken_json": {"ROW_UNREADABLE"},
}


def ignoring(*patterns: str) -> IngestPolicy:
    return DROP.model_copy(update={"ignored_fields": {"d": [*patterns], "other": ["*"]}})


def run(
    folder: Path, source: Path, row: Dataset, policy: IngestPolicy = DROP, **more: Any
) -> tuple[Outcome, Path]:
    """The outcome, and the folder with the four files."""
    made = job(folder, source, row, policy, **more)
    return ingest.run(made), made.output("records").parent


def sample(folder: Path, part: str, n: int = 600, seed: int = 5) -> Path:
    path = folder / f"{part}.jsonl"
    path.write_text("".join(f"{line}\n" for line in samples.lines(part, n, seed)), encoding="utf-8")
    return path


def texts_below(folder: Path) -> list[Path]:
    """Every file but the shards."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in paths if path.suffix != ".parquet"]


@pytest.mark.parametrize("part", samples.PARTS)
def test_every_planted_malformed_row_is_excluded_with_its_reason_and_no_other(
    tmp_path: Path, part: str
) -> None:
    outcome, out = run(
        tmp_path,
        sample(tmp_path, part),
        dataset(KINDS[part]),
        ignoring("product", "team", "harm", "stated", "opinion"),
    )
    planted = {
        mark.line: mark.what
        for mark in samples.planted(part, 600, 5)
        if mark.what in samples.MALFORMED
    }
    excluded = read_excluded(out / "excluded.jsonl")
    assert {one.row for one in excluded} == set(planted)
    assert all(one.reason in REASONS[planted[one.row]] for one in excluded)
    kept = read_records(out / "records")
    assert kept.num_rows + len(excluded) == 600 and not outcome.refused
    assert set(kept.column("row").to_pylist()) | set(planted) == set(range(1, 601))


def test_duplicates_keep_one_id_and_both_rows(tmp_path: Path) -> None:
    _, out = run(tmp_path, sample(tmp_path, "preferences"), dataset("preference"))
    rows = {row["row"]: row["id"] for row in read_records(out / "records").to_pylist()}
    for mark in samples.planted("preferences", 600, 5):
        if mark.what == "duplicate":
            assert rows[mark.line] == rows[mark.of]
    assert len(set(rows.values())) < len(rows)


def test_the_same_source_gives_the_same_bytes_and_order_changes_no_id(tmp_path: Path) -> None:
    source = sample(tmp_path, "prompts")
    _, first = run(tmp_path / "a", source, dataset("prompt"))
    _, second = run(tmp_path / "b", source, dataset("prompt"))
    assert contents_of(first) == contents_of(second)
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    source.write_text("".join(reversed(lines)), encoding="utf-8")
    _, turned = run(tmp_path / "c", source, dataset("prompt"))
    ids = [
        sorted(read_records(folder / "records").column("id").to_pylist())
        for folder in (first, turned)
    ]
    assert ids[0] == ids[1]


def test_reports_and_outcome_hold_no_text_of_any_record_and_no_ids_leave_the_folder(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "prompt": f"zanzibar {at}",
            "completions": [f"mombasa {at}", f"kilwa {at}"],
            "ratings": [{"rater": "pemba", "value": 1}],
            "note": "lamu",
        }
        for at in range(50)
    ]
    bad = [
        {**rows[0], "completions": ["malindi", True]},
        "malindi",
        {**rows[0], "malindi": 1, "prompt": None},
    ]
    outcome, out = run(
        tmp_path, jsonl(tmp_path / "x.jsonl", rows + bad), dataset("rated"), IngestPolicy()
    )
    told = "".join(path.read_text() for path in texts_below(out))
    told += (
        json.dumps([finding.model_dump() for finding in outcome.refused])
        + str(outcome.predicate)
        + outcome.summary
    )
    assert not [word for word in ("zanzibar", "mombasa", "kilwa", "pemba", "lamu") if word in told]
    assert not [
        one for one in read_records(out / "records").column("id").to_pylist() if one in told
    ]
    assert "pemba" not in str(read_records(out / "records").column("ratings").to_pylist())


def test_the_statement_says_what_was_taken_and_what_was_not(tmp_path: Path) -> None:
    rows = [
        {"question": f"Q{at}", "answer": f"A{at}", "topic": "x", **({"rare": 1} if at < 3 else {})}
        for at in range(20)
    ]
    source = jsonl(tmp_path / "x.jsonl", rows)
    refused, _ = run(tmp_path / "refused", source, dataset("conversation"), ignoring("top*"))
    (lost,) = refused.refused
    assert (lost.code, lost.found) == ("FIELDS_LOST", "rare (3 rows)")
    outcome, out = run(tmp_path, source, dataset("conversation"), ignoring("rare", "top*"))
    assert outcome.refused == () and outcome.parameters["ignored_fields"] == ["rare", "top*"]
    assert outcome.predicate["fields_unused"] == {"rare": 3, "topic": 20}
    assert outcome.predicate["record_key"] == "development"
    assert (
        isinstance(outcome.predicate["counts"], DataCounts)
        and outcome.predicate["counts"].records_out == 20
    )
    report = json.loads((out / "report.json").read_text())
    assert report["files"]["x.jsonl"] == {
        "fields": {"completion": "answer", "prompt": "question"},
        "raters": 0,
        "rows": 20,
        "shape": "question and answer",
    }
    assert "public development key" in (out / "report.md").read_text()


def test_slices_stand_beside_the_records_and_only_by_labels_that_are_listed(tmp_path: Path) -> None:
    topics = ["billing", "Anna Weber", None, " billing ", 7, "network"]
    rows = [
        {"prompt": f"question {at}", "answer": "x", "topic": topic}
        for at, topic in enumerate(topics)
    ]
    rows += [
        {"prompt": "question 0", "answer": "x", "topic": "network"},
        {"prompt": "question 9", "answer": "x"},
    ]
    source = jsonl(tmp_path / "rows.jsonl", rows)
    plain, folder = run(tmp_path / "plain", source, dataset("prompt"), ignoring("topic"))
    sliced, other = run(
        tmp_path / "sliced",
        source,
        dataset("prompt", slices={"topic": ["billing", "network", "7"]}),
    )
    assert contents_of(other / "records") == contents_of(folder / "records")
    assert (folder / "slices.jsonl").read_bytes() == b""
    ids = read_records(other / "records").column("id").to_pylist()
    labels = ["billing", "other", "other", "billing", "7", "network", "billing", "other"]
    assert read_slices(other / "slices.jsonl", ids) == {"topic": labels}, (
        "of two records alike, the first tells"
    )
    assert sliced.predicate["fields_unused"] == {} and plain.predicate["fields_unused"] == {
        "topic": 6
    }
    report = json.loads((other / "report.json").read_text())
    assert report["slices"] == {"topic": {"7": 1, "billing": 2, "network": 1, "other": 3}}
    assert "| topic | billing | 2 |" in (other / "report.md").read_text()
    assert not [path for path in texts_below(other) if "Anna" in path.read_text()]
    assert "slices" not in plain.parameters, "a dataset without them is recorded as ever"


def test_splits_follow_the_shares_and_a_folder_is_mixed_in_the_order_of_its_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "s").mkdir()
    jsonl(
        tmp_path / "s" / "b.jsonl",
        [
            {
                "messages": [
                    {"role": "user", "content": f"Q{at}"},
                    {"role": "assistant", "content": "A"},
                ]
            }
            for at in range(300)
        ],
    )
    (tmp_path / "s" / "a.csv").write_text(
        "instruction,output\n" + "".join(f"I{at},O\n" for at in range(300))
    )
    splits = {"train": 0.5, "validation": 0.3, "test": 0.2}
    outcome, out = run(tmp_path, tmp_path / "s", dataset("conversation", splits=splits))
    table = read_records(out / "records")
    assert [row["file"] for row in table.select(["file"]).to_pylist()] == ["a.csv"] * 300 + [
        "b.jsonl"
    ] * 300
    counts = outcome.predicate["counts"].splits
    assert (
        sum(counts.values()) == 600 and 0.42 < counts["train"] / 600 < 0.58 and counts["test"] > 60
    )


def test_a_key_of_ones_own_makes_other_ids_and_is_named(tmp_path: Path) -> None:
    secret = bytes(range(32))
    (tmp_path / "k").write_text(secret.hex())
    source = jsonl(tmp_path / "x.jsonl", [{"text": "T"}])
    _, public = run(tmp_path / "a", source, dataset("conversation"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "k").write_text(secret.hex())
    outcome, own = run(
        tmp_path / "b",
        source,
        dataset("conversation"),
        records=RecordKey(key="k", key_id=key_id_of(secret)),
    )
    ids = [read_records(folder / "records").column("id").to_pylist() for folder in (public, own)]
    assert ids[0] != ids[1] and outcome.predicate["record_key"] == key_id_of(secret)


# --- what policy says -----------------------------------------------------------------------------

GOOD: list[Any] = [{"prompt": f"Q{at}", "answer": "A"} for at in range(96)]
BAD: list[Any] = [{"prompt": True}, [1], {"answer": "A"}, {"prompt": 3}]

POLICIES: dict[str, tuple[IngestPolicy, bool]] = {
    "block": (IngestPolicy(malformed="block"), True),
    "nothing said": (IngestPolicy(), True),
    "drop within the share": (IngestPolicy(malformed="drop", max_share=0.04), False),
    "drop beyond the share": (IngestPolicy(malformed="drop", max_share=0.039), True),
}


@pytest.mark.parametrize("name", POLICIES)
def test_malformed_rows_are_dropped_or_refuse_the_source_as_policy_says(
    tmp_path: Path, name: str
) -> None:
    policy, refused = POLICIES[name]
    outcome, out = run(tmp_path, jsonl(tmp_path / "x.jsonl", GOOD + BAD), dataset("prompt"), policy)
    assert bool(outcome.refused) == refused
    assert outcome.predicate["counts"].excluded == {
        "FIELD_MISSING": 1,
        "FIELD_NOT_TEXT": 2,
        "ROW_NOT_OBJECT": 1,
    }
    if refused:
        found = {finding.code: finding for finding in outcome.refused}
        assert set(found) == {"FIELD_MISSING", "FIELD_NOT_TEXT", "ROW_NOT_OBJECT"}
        assert "x.jsonl:97:prompt, x.jsonl:100:prompt" in found["FIELD_NOT_TEXT"].message
        assert all(
            isinstance(one, Finding) and one.next == CODES[one.code].next for one in outcome.refused
        )
        assert "**Refused**" in (out / "report.md").read_text()


def test_without_malformed_rows_the_strictest_policy_passes(tmp_path: Path) -> None:
    outcome, _ = run(tmp_path, jsonl(tmp_path / "x.jsonl", GOOD), dataset("prompt"), IngestPolicy())
    assert outcome.refused == ()


def test_pairs_with_nothing_to_compare_are_left_out_and_never_held_against_the_source(
    tmp_path: Path,
) -> None:
    pair = {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"}
    rows = [pair, {**pair, "rejected": "\n\nHuman: R\n\nAssistant: B"}]
    outcome, out = run(
        tmp_path, jsonl(tmp_path / "x.jsonl", rows), dataset("preference"), IngestPolicy()
    )
    assert outcome.refused == () and outcome.predicate["counts"].excluded == {"PROMPT_MISMATCH": 1}
    assert read_excluded(out / "excluded.jsonl")[0].row == 2


# --- sources that give nothing --------------------------------------------------------------------

HOPELESS: dict[str, tuple[str, str, str]] = {
    "empty file": ("x.jsonl", "", "no rows"),
    "only blank lines": ("x.jsonl", "\n\n", "no rows"),
    "empty array": ("x.json", "[]", "no rows"),
    "header alone": ("x.csv", "prompt,answer\n", "no rows"),
    "a column missing": (
        "x.csv",
        "ask,tell\na,b\n",
        "ask, tell have no known shape of kind prompt",
    ),
    "no line is JSON": ("x.jsonl", "hello\nthere\n", "none of 2 rows"),
    "every line in another encoding": ("x.jsonl", "caf\udce9\n" * 3, "none of 3 rows"),
    "every prompt true": ("x.jsonl", '{"prompt": true}\n' * 3, "FIELD_NOT_TEXT"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_a_source_without_a_single_record_is_an_input_error_that_says_why(
    tmp_path: Path, name: str
) -> None:
    file, content, match = HOPELESS[name]
    (tmp_path / file).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=match) as caught:
        run(tmp_path, tmp_path / file, dataset("prompt"))
    assert file in caught.value.where


RATED_BY = '{"prompt": "Q", "completions": ["A", "B"], "ratings": [{"rater": "NAME", "value": 1}]}'
HALF: dict[str, tuple[str, str]] = {
    "in a text": ("conversation", '{"text": "ok"}\n{"text": "\\ud83d"}\n'),
    "in a rater's name": ("rated", f"{RATED_BY}\n{RATED_BY.replace('NAME', chr(92) + 'ud83d')}\n"),
}


@pytest.mark.parametrize("where", HALF)
def test_half_of_a_utf16_pair_is_left_out(tmp_path: Path, where: str) -> None:
    kind, content = HALF[where]
    (tmp_path / "x.jsonl").write_text(content)
    _, out = run(
        tmp_path, tmp_path / "x.jsonl", dataset(kind), IngestPolicy(malformed="drop", max_share=0.5)
    )
    assert [(one.row, one.reason) for one in read_excluded(out / "excluded.jsonl")] == [
        (2, "ROW_ENCODING")
    ]


def test_a_misspelt_field_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'prompt'"):
        run(tmp_path, jsonl(tmp_path / "x.jsonl", GOOD), dataset("prompt", fields={"promt": "q"}))


def test_every_reason_ingest_can_give_is_a_code_with_a_next_step() -> None:
    code = "".join(
        (ROOT / "pipelines" / name).read_text()
        for name in (
            "sources/readers.py",
            "sources/messages.py",
            "sources/shapes.py",
            "sources/ingest.py",
        )
    )
    reasons = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', code))
    assert len(reasons) >= 13
    assert all(CODES[reason].next and not CODES[reason].blocking for reason in reasons)


# --- scale and public data ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.nightly
def test_time_grows_with_the_rows_and_memory_does_not(tmp_path: Path) -> None:
    import resource
    import time

    def seconds(n: int) -> float:
        source = jsonl(
            tmp_path / f"{n}.jsonl",
            [{"prompt": f"{at} " * 20, "answer": str(at)} for at in range(n)],
        )
        began = time.process_time()
        run(tmp_path / str(n), source, dataset("prompt"))
        return time.process_time() - began

    seconds(2000)
    small = seconds(20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (
        seconds(160_000) < 8 * small * 4
    )  # by the square: 64 times; a busy machine takes up to twice the time
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, (
        "kilobytes on Linux"
    )


PUBLIC: dict[str, tuple[str, int, dict[str, int]]] = {
    "aqua/dev.jsonl": ("prompt", 254, {}),
    "gsm8k/train.jsonl": ("conversation", 7473, {}),
    "hh_rlhf/harmless-base-test.part.jsonl": ("preference", 1166, {"PROMPT_MISMATCH": 2}),
    "pandalm/testset-v1.part.json": ("rated", 484, {"FIELD_NOT_TEXT": 6}),
    "alpaca_eval/annotations": ("rated", 1610, {}),
    "llamafactory_demo/dpo_en_demo.json": ("preference", 300, {}),
    "llamafactory_demo/kto_en_demo.json": ("unpaired", 300, {}),
    "llamafactory_demo/glaive_toolcall_en_demo.json": ("conversation", 300, {}),
    "oasst_zh/oaast_rm_zh.json": ("preference", 775, {}),
    "oasst_zh/oaast_sft_zh.json": ("conversation", 766, {}),
    "self_instruct_seed": ("conversation", 175, {}),
    "stack_exchange_tiny": ("preference", 25, {}),
    "human_eval": ("prompt", 164, {}),
    "xstest/xstest_prompts.csv": ("prompt", 450, {}),
    "xstest/xstest_v2_completions_gpt4.csv": ("conversation", 450, {}),
    "mt_bench/vicuna_question.jsonl": ("prompt", 80, {}),
    "mt_bench/question.jsonl": ("prompt", 80, {}),
    "gpteacher/toolformer-similarity-0.6-dataset.json": ("conversation", 2396, {}),
    "presidio_research/generated_small.json": ("conversation", 100, {}),
    "ner_real/BTC": ("conversation", 3200, {}),
}


LOST = {
    "gpteacher/toolformer-similarity-0.6-dataset.json": ["example_input"],
    "aqua/dev.jsonl": ["rationale"],
    "pandalm/testset-v1.part.json": ["cmp_key", "idx", "motivation_app"],
    "alpaca_eval/annotations": [
        "dataset",
        "generator_1",
        "generator_2",
        "price_per_example",
        "time_per_example",
    ],
    "self_instruct_seed": ["id", "is_classification", "name"],
    "human_eval": ["entry_point", "task_id", "test"],
    "xstest/xstest_prompts.csv": ["focus", "id", "label", "note", "type"],
    "xstest/xstest_v2_completions_gpt4.csv": [
        "agreement",
        "annotation_1",
        "annotation_2",
        "final_label",
        "id",
        "type",
    ],
    "mt_bench/vicuna_question.jsonl": ["category", "question_id"],
    "mt_bench/question.jsonl": ["category", "question_id", "reference"],
    "presidio_research/generated_small.json": ["masked", "spans", "template_id"],
    "ner_real/BTC": ["spans"],
}
"""What records of these files do not keep."""


@pytest.mark.parametrize("name", PUBLIC)
def test_public_data_becomes_records_with_its_real_defects_named(
    public_data: Path, tmp_path: Path, name: str
) -> None:
    kind, out, excluded = PUBLIC[name]
    lost = LOST.get(name, [])
    outcome, folder = run(tmp_path, public_data / name, dataset(kind), ignoring(*lost))
    assert sorted(outcome.predicate["fields_unused"]) == lost
    counts = outcome.predicate["counts"]
    assert (counts.records_out, counts.excluded, outcome.refused) == (out, excluded, ())
    assert next(texts(read_records(folder / "records"), kind)).text


def test_calls_of_public_data_are_kept_as_their_source_has_them(
    public_data: Path, tmp_path: Path
) -> None:
    source = public_data / "llamafactory_demo" / "glaive_toolcall_en_demo.json"
    _, folder = run(tmp_path, source, dataset("conversation"), ignoring())
    given = json.loads(source.read_text())
    records = read_records(folder / "records").to_pylist()
    for row, record in zip(given, records, strict=True):
        calls = [
            json.loads(m["value"]) for m in row["conversations"] if m["from"] == "function_call"
        ]
        kept = [call for m in record["messages"] for call in json.loads(m["tool_calls"] or "[]")]
        assert kept == calls
        tools = [tool["function"] for tool in json.loads(record["tools"] or "[]")]
        assert tools == json.loads(row["tools"])


def test_tests_and_entry_point_of_public_code_tasks_are_extra_columns(
    public_data: Path, tmp_path: Path
) -> None:
    source, extra = public_data / "human_eval", {"tests": "test", "entry_point": "entry_point"}
    tasks = dataset("prompt", extra=extra)
    outcome, folder = run(tmp_path, source, tasks, ignoring("task_id"))
    assert outcome.predicate["fields_unused"] == {"task_id": 164}
    assert outcome.parameters["extra"] == extra
    first = json.loads((source / "HumanEval.jsonl").read_text().partition("\n")[0])
    record = read_records(folder / "records").to_pylist()[0]
    assert json.loads(record["extra"]) == {
        "tests": first["test"],
        "entry_point": first["entry_point"],
    }


def test_public_questions_in_two_turns_keep_both(public_data: Path, tmp_path: Path) -> None:
    source = public_data / "mt_bench" / "question.jsonl"
    given = dataset("prompt", fields={"answer": "reference.1"})
    _, folder = run(
        tmp_path, source, given, ignoring("category", "question_id", "reference", "reference.0")
    )
    for line, record in zip(
        source.read_text().splitlines(),
        read_records(folder / "records").to_pylist(),
        strict=True,
    ):
        row = json.loads(line)
        turns = [record["prompt"][0]["content"], *json.loads(record["turns"])]
        assert turns == row["turns"]
        assert record["answer"] == row.get("reference", [None, None])[1]


def test_a_misspelt_extra_field_is_a_configuration_error(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "x.jsonl", [{"prompt": "Q", "test": "t"}])
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        run(tmp_path, source, dataset("prompt", extra={"tests": "tset"}))


@pytest.mark.parametrize(
    ("kind", "extra", "match"),
    [
        ("conversation", {"tests": "test"}, "only datasets of kind prompt"),
        ("prompt", {"completions": "test"}, "cannot have the name completions"),
    ],
)
def test_extra_columns_that_no_reward_could_get_are_refused(
    kind: str, extra: dict[str, str], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        dataset(kind, extra=extra)


def test_a_source_of_images_is_refused_in_one_sentence(tmp_path: Path) -> None:
    row = {"prompt": "What is it?", "image": {"bytes": "aGk=", "path": "a.png"}}
    source = jsonl(tmp_path / "x.jsonl", [row, row])
    with pytest.raises(InputError, match="MEDIA_NOT_SUPPORTED") as caught:
        run(tmp_path, source, dataset("prompt"))
    assert "only text" in str(caught.value) or "text alone" in str(caught.value)


def test_nulls_that_arrow_adds_to_a_call_are_not_its_arguments(tmp_path: Path) -> None:
    def row(**arguments: str) -> dict[str, Any]:
        call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
        talk = [{"role": "user", "content": "Q", "tool_calls": []},
            {"role": "assistant", "content": "", "tool_calls": [call]}]  # fmt: skip
        return {"messages": talk}

    pq.write_table(pa.Table.from_pylist([row(to="x"), row(at="y")]), tmp_path / "x.parquet")
    _, folder = run(tmp_path, tmp_path / "x.parquet", dataset("conversation"))
    kept = [
        json.loads(record["messages"][1]["tool_calls"])[0]["arguments"]
        for record in read_records(folder / "records").to_pylist()
    ]
    assert kept == [{"to": "x"}, {"at": "y"}]


def test_every_public_file_has_a_kind_or_a_clear_sentence(public_data: Path) -> None:
    from pipelines.commands.add import first_rows
    from pipelines.sources.binding import fitting_kinds

    without = [
        name
        for name, path in source_files(public_data)
        if not fitting_kinds(first_rows(path, "utf-8"))
    ]
    assert set(without) <= {"mt_bench/question.jsonl", "mt_bench/reference_answer_gpt-4.jsonl"}


def test_inputs_and_outputs_are_those_of_the_graph() -> None:
    params: Params = load_params(ROOT)
    assert [one.path.as_posix() for one in ingest.inputs(params, "desk_sft")] == [
        "data/source/desk_sft.jsonl"
    ]
    assert {one.path.as_posix() for one in ingest.outputs(params, "desk_sft")} == {
        f"data/ingested/desk_sft/{name}"
        for name in (
            "records",
            "slices.jsonl",
            "excluded.jsonl",
            "report.json",
            "report.md",
        )
    }
