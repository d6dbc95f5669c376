"""Figures about every record: the quality gate judges them instead of text.

To add a feature: a function below and its entry in `FEATURES`. A suite in `policies/quality/` then
names it as a column. A feature is computed only if a suite names it, batch by batch, in Arrow and
numpy. A feature that depends on other records returns a value per record, and `combine` decides
over all of them.

No feature holds text: only numbers, booleans, or NaN if there is no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.base.errors import ConfigError
from pipelines.features.agreement import (
    alpha_low_of_all,
    alpha_of_all,
    rater_alpha,
    rater_alpha_low,
    rater_majority,
    raters,
    ratings_valid,
)
from pipelines.features.answers import (
    answer_share,
    code_missing,
    form_share,
    merged_instructions,
    missing_input,
    no_output,
    refusal,
    share_of_equal,
    truncated_answer,
    unusable_link,
    wrong_sums,
)
from pipelines.features.contamination import (
    held_out_overlap,
    near_held_out,
    quotes_held_out_answer,
)
from pipelines.features.languages import language_expected, other_language, unlike_most
from pipelines.features.leaks import Around
from pipelines.features.preferences import (
    answers_alike,
    contradicted,
    disputes,
    in_cycle,
    near_contradicted,
    on_cycle,
    opposed,
    result_disputed,
)
from pipelines.features.references import answer_differs_from_reference
from pipelines.features.tools import wrong_calls
from pipelines.features.turns import (
    ASSISTANT,
    SYSTEM,
    TOOL,
    USER,
    Column,
    Records,
    Turns,
    batches,
    fingerprints,
    objects,
    plain,
)
from pipelines.kinds import KINDS

# --- every kind -----------------------------------------------------------------------------------


def messages(records: Records, around: Around) -> Column:
    """Number of messages, including those of all answers."""
    return _sum(
        records.per_record(turns, np.ones(len(turns.roles))) for turns in records.parts.values()
    )


def characters(records: Records, around: Around) -> Column:
    """Number of characters of all texts."""
    return _sum(_characters(records, turns) for turns in records.parts.values())


def words(records: Records, around: Around) -> Column:
    """Number of words of all texts, split at white space. It measures length where no tokenizer is
    known yet.
    """
    return _sum(_words(records, name) for name in records.parts)


def empty_texts(records: Records, around: Around) -> Column:
    """Number of empty messages, reference answers, conversations and answers. A message that calls
    a tool is not empty; one that has only what the assistant thought is.
    """
    blank = [
        records.per_record(turns, _size(records.answers_of(name)) == 0)
        for name, turns in records.parts.items()
    ]
    none = [
        np.bincount(turns.owner[turns.sizes == 0], minlength=len(records))
        for turns in records.parts.values()
    ]
    if records.kind == "prompt":
        blank.append(plain(pc.fill_null(pc.equal(records.reference, ""), False)))
    return _sum([*blank, *none])


def control_characters(records: Records, around: Around) -> Column:
    """Number of characters that do not belong in text: control characters (except tab and line
    ends) and U+FFFD for lost bytes.
    """
    pattern = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\ufffd]"
    return _sum(
        records.per_record(turns, plain(pc.count_substring_regex(turns.contents, pattern)))
        for turns in records.parts.values()
    )


def roles_alternate(records: Records, around: Around) -> Column:
    """Whether roles alternate across prompt and answer. Tools may repeat; a system message may only
    come first.
    """
    wrong = np.zeros(len(records))
    for turns in records.parts.values():
        follows = np.flatnonzero(np.diff(turns.sequence) == 0) + 1
        clash = follows[_clash(turns.roles[follows - 1], turns.roles[follows])]
        wrong += np.bincount(turns.record[clash], minlength=len(records))
    for answer in records.answers:
        before = records.parts[records.first].edge(last=True)[answer.owner]
        clash = answer.owner[(before >= 0) & _clash(before, answer.edge(last=False))]
        wrong += np.bincount(clash, minlength=len(records))
    good: Column = wrong == 0
    return good


def starts_with_user(records: Records, around: Around) -> Column:
    """Whether the user speaks first; a system message may come before."""
    turns = records.parts[records.first]
    second = np.full(len(records), -1)
    several = turns.sizes > 1
    second[several] = turns.roles[turns.bounds[:-1][several] + 1]
    first = turns.edge(last=False)
    good: Column = np.where(first == SYSTEM, second, first) == USER
    return good


def ends_with_assistant(records: Records, around: Around) -> Column:
    """Whether the conversation, or every answer, ends with the assistant."""
    return _all(records, records.answers or [records.parts[records.first]], last=True)


def ends_with_user(records: Records, around: Around) -> Column:
    """Whether the prompt ends with a message to answer: from the user or a tool."""
    last = records.parts[records.first].edge(last=True)
    good: Column = (last == USER) | (last == TOOL)
    return good


def duplicate(records: Records, around: Around) -> Column:
    """Whether an earlier record has the same normalised text (ratings ignored)."""
    return fingerprints(records.whole)


def _seen(prints: Column, around: Around) -> Column:
    repeated = np.full(len(prints), True)
    repeated[np.unique(prints, return_index=True)[1]] = False
    return repeated


def near_duplicate(records: Records, around: Around) -> Column:
    """Whether an earlier record is similar: MinHash, word 3-grams, 128 permutations, 32 bands."""
    import rensa

    shingles = [_shingles(text.split()) for text in records.whole]
    return objects(rensa.RMinHash.from_token_sets(shingles, 128, 42))


def _shingles(words: list[str]) -> list[str]:
    """Every three words in a row."""
    return [" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))]


def _alike(hashes: Column, around: Around) -> Column:
    import rensa

    finder = rensa.RMinHashDeduplicator(around.similarity, 128, True, 32, 42)
    similar = [not finder.add(str(at), value) for at, value in enumerate(hashes)]
    return np.array(similar, dtype=bool)


# --- leaks ----------------------------------------------------------------------------------------


def leaks_held_out(records: Records, around: Around) -> Column:
    """Whether the record has a held-out prompt (or begins with one), or quotes a long held-out
    message.
    """
    return around.held_out.leaks(records) if around.held_out else np.full(len(records), False)


def leaks_split(records: Records, around: Around) -> Column:
    """Whether a training record has a prompt of the dataset's own validation or test split."""
    training = plain(pc.equal(records.table.column("split"), "train").combine_chunks())
    has_prompt = np.array([bool(prompt) for prompt in records.prompts], dtype=np.uint64)
    prints = fingerprints(records.prompts)
    return np.column_stack([prints, training.astype(np.uint64), has_prompt])


def _elsewhere(prints: Column, around: Around) -> Column:
    prompts, training, has_prompt = prints[:, 0], prints[:, 1] == 1, prints[:, 2] == 1
    held_out = prompts[~training & has_prompt]
    leaks: Column = training & has_prompt & np.isin(prompts, held_out)
    return leaks


# --- judged answers -------------------------------------------------------------------------------


def answers_start_with_assistant(records: Records, around: Around) -> Column:
    """Whether every answer begins with the assistant. If not, a pair has two different prompts."""
    return _all(records, records.answers, last=False)


def shortest_answer(records: Records, around: Around) -> Column:
    """Number of characters of the shortest answer, without what the assistant thought."""
    shortest = np.full(len(records), np.inf)
    for turns in records.answers:
        sizes = np.bincount(turns.sequence, _size(turns.answers), len(turns.owner))
        np.minimum.at(shortest, turns.owner, sizes)
    return np.where(np.isinf(shortest), np.nan, shortest)


def chosen_equals_rejected(records: Records, around: Around) -> Column:
    """Whether both answers have the same normalised text."""
    return plain(pc.equal(records.joined("chosen"), records.joined("rejected")))


def chosen_longer(records: Records, around: Around) -> Column:
    """1 if the chosen answer is longer, 0.5 if both have the same length, else 0. The mean shows a
    length bias.
    """
    chosen, rejected = (
        _characters(records, records.parts[name]) for name in ("chosen", "rejected")
    )
    return np.where(chosen == rejected, 0.5, chosen > rejected)


def label(records: Records, around: Around) -> Column:
    """1 if the completion is wanted, else 0."""
    return plain(records.table.column("label").combine_chunks()).astype(float)


def has_answer(records: Records, around: Around) -> Column:
    """Whether there is a reference answer that is not blank."""
    return plain(pc.fill_null(pc.not_equal(records.reference, ""), False))


# --- pieces ---------------------------------------------------------------------------------------


def _sum(columns: Iterable[Column]) -> Column:
    total: Column = np.sum(list(columns), axis=0)
    return total


def _size(texts: pa.Array) -> Column:
    return plain(pc.utf8_length(texts))


def _characters(records: Records, turns: Turns) -> Column:
    return records.per_record(turns, _size(turns.contents))


def _words(records: Records, name: str) -> Column:
    texts = records.normal[name]
    words = (plain(pc.count_substring(texts, " ")) + 1) * (_size(texts) > 0)
    return records.per_record(records.parts[name], words)


def _clash(first: Column, second: Column) -> Column:
    """Whether a message of role `second` may not follow a message of role `first`."""
    clash: Column = ((first == second) & (second != TOOL)) | (second == SYSTEM)
    return clash


def _all(records: Records, sequences: list[Turns], *, last: bool) -> Column:
    """Whether the assistant speaks first, or last, in every sequence of a record."""
    good = np.full(len(records), True)
    for turns in sequences:
        good[turns.owner[turns.edge(last) != ASSISTANT]] = False
    return good


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feature:
    """One column of the frame."""

    compute: Callable[[Records, Around], Column]
    combine: Callable[[Column, Around], Column] | None = None
    """Makes the column of the whole dataset from the values that `compute` returned for each
    record.
    """
    kinds: frozenset[str] = field(default=frozenset(KINDS))


_PREFERENCE = frozenset({"preference"})
_JUDGED = frozenset({"preference", "unpaired", "rated"})
_LEARNT = frozenset({"conversation", "preference", "unpaired"})
"""Kinds with one answer to learn from."""
_PROMPTED = _JUDGED | {"prompt"}
_rated = partial(Feature, kinds=frozenset({"rated"}))

FEATURES: dict[str, Feature] = {
    "messages": Feature(messages),
    "characters": Feature(characters),
    "words": Feature(words),
    "empty_texts": Feature(empty_texts),
    "control_characters": Feature(control_characters),
    "roles_alternate": Feature(roles_alternate),
    "starts_with_user": Feature(starts_with_user),
    "ends_with_assistant": Feature(ends_with_assistant, kinds=_JUDGED | {"conversation"}),
    "ends_with_user": Feature(ends_with_user, kinds=_PROMPTED),
    "language_expected": Feature(language_expected),
    "other_language": Feature(other_language, unlike_most),
    "duplicate": Feature(duplicate, _seen),
    "near_duplicate": Feature(near_duplicate, _alike),
    "leaks_held_out": Feature(leaks_held_out),
    "leaks_split": Feature(leaks_split, _elsewhere),
    "near_held_out": Feature(near_held_out),
    "held_out_overlap": Feature(held_out_overlap),
    "quotes_held_out_answer": Feature(quotes_held_out_answer, kinds=_LEARNT),
    "missing_input": Feature(missing_input),
    "unusable_link": Feature(unusable_link),
    "refusal": Feature(refusal, kinds=_LEARNT),
    "no_output": Feature(no_output, kinds=_LEARNT),
    "truncated_answer": Feature(truncated_answer, kinds=_LEARNT),
    "merged_instructions": Feature(merged_instructions, kinds=_LEARNT),
    "code_missing": Feature(code_missing, kinds=_LEARNT),
    "wrong_sums": Feature(wrong_sums, kinds=_LEARNT),
    "wrong_calls": Feature(wrong_calls, kinds=_LEARNT),
    "answer_share": Feature(answer_share, share_of_equal, _LEARNT),
    "form_share": Feature(form_share, share_of_equal, _LEARNT),
    "result_disputed": Feature(result_disputed, disputes, _LEARNT),
    "answers_start_with_assistant": Feature(answers_start_with_assistant, kinds=_JUDGED),
    "shortest_answer": Feature(shortest_answer, kinds=_JUDGED),
    "chosen_equals_rejected": Feature(chosen_equals_rejected, kinds=_PREFERENCE),
    "chosen_longer": Feature(chosen_longer, kinds=_PREFERENCE),
    "answers_alike": Feature(answers_alike, kinds=_PREFERENCE),
    "contradicted": Feature(contradicted, opposed, frozenset({"preference", "unpaired"})),
    "near_contradicted": Feature(near_contradicted, opposed, frozenset({"preference", "unpaired"})),
    "in_cycle": Feature(in_cycle, on_cycle, _PREFERENCE),
    "label": Feature(label, kinds=frozenset({"unpaired"})),
    "has_answer": Feature(has_answer, kinds=frozenset({"prompt"})),
    "answer_differs_from_reference": Feature(
        answer_differs_from_reference, kinds=frozenset({"prompt"})
    ),
    "raters": _rated(raters),
    "ratings_valid": _rated(ratings_valid),
    "rater_majority": _rated(rater_majority),
    "rater_alpha": _rated(rater_alpha, alpha_of_all),
    "rater_alpha_low": _rated(rater_alpha_low, alpha_low_of_all),
}
"""Name to feature."""


PLACE = ["id", "file", "row"]
"""Columns that name a record and its place in the source."""


@dataclass(frozen=True)
class Frame:
    """The computed features of each record. Records can be removed without computing again."""

    raw: dict[str, Column]
    around: Around
    places: pa.Table
    """Id, file and row of each record."""

    def __len__(self) -> int:
        return int(self.places.num_rows)

    def columns(self) -> dict[str, Column]:
        """The features by name."""
        return {name: self._column(FEATURES[name], raw) for name, raw in self.raw.items()}

    def _column(self, feature: Feature, raw: Column) -> Column:
        if feature.combine is None:
            return raw
        return feature.combine(raw, self.around) if len(raw) else np.empty(0)

    def keep(self, rows: Column) -> Frame:
        """The frame of the records where `rows` is true."""
        raw = {name: raw[rows] for name, raw in self.raw.items()}
        return Frame(raw, self.around, self.places.filter(pa.array(rows)))


def compute(tables: Iterable[pa.Table], kind: str, names: Iterable[str], around: Around) -> Frame:
    """The named features of all records of the tables. Raises `ConfigError` for an unknown feature
    or one of another kind.
    """
    columns: dict[str, list[Column]] = {name: [] for name in names}
    known = sorted(name for name, feature in FEATURES.items() if kind in feature.kinds)
    wrong = [name for name in columns if name not in known]
    if wrong:
        found, expected = f"a {kind} has no feature {', '.join(wrong)}", ", ".join(known)
        where = "policies/quality: column"
        raise ConfigError(found, where=where, expected=f"one of: {expected}")
    places = [KINDS[kind].schema.empty_table().select(PLACE)]
    for table in tables:
        places.append(table.select(PLACE).replace_schema_metadata())
        for records in batches(table, kind):
            for name, parts in columns.items():
                parts.append(FEATURES[name].compute(records, around))
    whole = {
        name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()
    }
    return Frame(whole, around, pa.concat_tables(places))


def rows() -> list[tuple[str, str, str]]:
    """Every feature: its name, its kinds, and what it says, as docs/quality.md shows them."""
    every = frozenset(KINDS)
    return [
        (
            name,
            "all" if feature.kinds == every else ", ".join(sorted(feature.kinds)),
            " ".join((feature.compute.__doc__ or "").split()),
        )
        for name, feature in FEATURES.items()
    ]
