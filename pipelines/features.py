"""Figures about every record, computed in Arrow and numpy: what the quality gate judges instead of text.

To add one: a function below with its entry in `FEATURES`; a suite in `policies/quality/` then names it as a
column. A feature is computed only where a suite names it, and holds no text: numbers, booleans, or nothing
(NaN) where there is no figure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ConfigError
from pipelines.kinds import KINDS, ROLES

Column = np.ndarray[Any, Any]
"""One value per record."""

SYSTEM, USER, ASSISTANT, TOOL = range(len(ROLES))

LONG_PROMPT = 8
"""A held-out message of at least this many words is looked for anywhere in a record, a shorter one only as its prompt."""


# --- a table seen as sequences of messages ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Turns:
    """Sequences of messages, flat: sequence s holds messages bounds[s] to bounds[s+1] and belongs to record owner[s]."""

    owner: Column
    bounds: Column
    roles: Column
    """Index in `ROLES` of every message."""
    contents: pa.Array

    @cached_property
    def message_owner(self) -> Column:
        """The record of every message."""
        return np.repeat(self.owner, np.diff(self.bounds))

    def edge(self, last: bool) -> Column:
        """The role of the first or last message of every sequence; -1 where it has none."""
        filled = np.diff(self.bounds) > 0
        edge = np.full(len(self.owner), -1)
        edge[filled] = self.roles[(self.bounds[1:] - 1 if last else self.bounds[:-1])[filled]]
        return edge


def _turns(column: pa.ChunkedArray, nested: bool) -> Turns:
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    owner = np.arange(len(array))
    if nested:
        owner = np.repeat(owner, np.diff(array.offsets.to_numpy()))
        array = array.flatten()
    bounds = array.offsets.to_numpy().astype(np.int64)
    messages = array.values.slice(bounds[0], bounds[-1] - bounds[0])
    roles = pc.index_in(messages.field("role"), value_set=pa.array(ROLES)).to_numpy(zero_copy_only=False)
    return Turns(owner, bounds - bounds[0], roles, messages.field("content"))


@dataclass
class Records:
    """A table of records of one kind, with what several features need computed once."""

    table: pa.Table
    kind: str
    held_out: Records | None = None
    """The records of the held-out dataset; None where a dataset is its own."""
    similarity: float = 0.85
    language: str | None = None
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def parts(self) -> dict[str, Turns]:
        """Column to its messages."""
        kind = KINDS[self.kind]
        plain = {name: _turns(self.table.column(name), nested=False) for name in kind.message_columns}
        return plain | {name: _turns(self.table.column(name), nested=True) for name in kind.completion_columns}

    @cached_property
    def answers(self) -> list[Turns]:
        """What comes after the prompt: chosen and rejected, a completion, several completions."""
        return [turns for name, turns in self.parts.items() if name not in ("prompt", "messages")]

    @cached_property
    def normal(self) -> dict[str, pa.Array]:
        """Column to the contents of its messages in normal form: NFKC, lower case, white space as one space."""
        return {name: normal_form(turns.contents) for name, turns in self.parts.items()}

    def count(self, turns: Turns, mask: Column) -> Column:
        """How many messages of each record satisfy `mask`."""
        return np.bincount(turns.message_owner[mask], minlength=len(self))

    def joined(self, name: str) -> pa.Array:
        """One text per sequence of a column: role and normal form of every message."""
        turns = self.parts[name]
        codes = pa.array(turns.roles.astype(np.int8)).cast(pa.string())
        said = pc.binary_join_element_wise(codes, self.normal[name], "\x1f")
        bounds = pa.array(turns.bounds.astype(np.int32))
        return pc.binary_join(pa.ListArray.from_arrays(bounds, said), "\x1e")

    @cached_property
    def whole(self) -> pa.Array:
        """One text per record that two records share when they say the same."""
        texts = [self._per_record(name) for name in self.parts]
        if self.kind == "unpaired":
            texts.append(self.table.column("label").combine_chunks().cast(pa.string()))
        if self.kind == "prompt":
            answers = normal_form(self.table.column("answer").combine_chunks())
            texts.append(pc.fill_null(answers, "\x00"))
        return pc.binary_join_element_wise(*texts, "\x1d")

    def _per_record(self, name: str) -> pa.Array:
        """`joined`, with the several sequences of a record made one."""
        sequences, owner = self.joined(name), self.parts[name].owner
        if len(owner) == len(self) and name not in KINDS[self.kind].completion_columns:
            return sequences
        bounds = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(self)))])
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), sequences), "\x1c")

    @cached_property
    def prompts(self) -> list[str | None]:
        """What was asked: the normal form up to the last message of the user, system messages aside."""
        turns, normal = self._asked
        texts = normal.to_pylist()
        found: list[str | None] = []
        for low, high in pairwise(turns.bounds.tolist()):
            asked = [at for at in range(low, high) if turns.roles[at] == USER]
            kept = [at for at in range(low, asked[-1] + 1) if turns.roles[at] != SYSTEM] if asked else []
            found.append("\x1e".join(f"{turns.roles[at]}\x1f{texts[at]}" for at in kept) if asked else None)
        return found

    @cached_property
    def openings(self) -> list[str | None]:
        """The prompts up to the first message of the user."""
        return [text.split("\x1e", 1)[0] if text else None for text in self.prompts]

    @property
    def _asked(self) -> tuple[Turns, pa.Array]:
        name = "messages" if self.kind == "conversation" else "prompt"
        return self.parts[name], self.normal[name]


def normal_form(texts: pa.Array) -> pa.Array:
    """NFKC, lower case, white space as one space: what two people would call the same words."""
    folded = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(folded, pattern=r"\s+", replacement=" "))


# --- every kind ------------------------------------------------------------------------------------------------------


def messages(records: Records) -> Column:
    """Messages, those of all answers included."""
    return np.sum([records.count(turns, np.full(len(turns.roles), True)) for turns in records.parts.values()], axis=0)


def characters(records: Records) -> Column:
    """Characters of all texts."""
    return np.sum([_lengths(records, turns) for turns in records.parts.values()], axis=0)


def _lengths(records: Records, turns: Turns) -> Column:
    lengths = pc.utf8_length(turns.contents).to_numpy(zero_copy_only=False)
    return np.bincount(turns.message_owner, weights=lengths, minlength=len(records))


def words(records: Records) -> Column:
    """Words of all texts, by white space: a measure of length where no tokeniser is chosen yet."""
    total = np.zeros(len(records))
    for name, turns in records.parts.items():
        spaces = pc.count_substring(records.normal[name], " ").to_numpy(zero_copy_only=False)
        filled = pc.utf8_length(records.normal[name]).to_numpy(zero_copy_only=False) > 0
        total += np.bincount(turns.message_owner, weights=(spaces + 1) * filled, minlength=len(records))
    return total


def empty_texts(records: Records) -> Column:
    """Messages and answers of nothing but white space, and sequences without a message."""
    total = np.zeros(len(records), dtype=np.int64)
    for name, turns in records.parts.items():
        blank = pc.utf8_length(records.normal[name]).to_numpy(zero_copy_only=False) == 0
        total += records.count(turns, blank)
        if not (name == "prompt" and records.kind == "unpaired"):
            total += np.bincount(turns.owner[np.diff(turns.bounds) == 0], minlength=len(records))
    if records.kind == "prompt":
        answers = normal_form(records.table.column("answer").combine_chunks())
        total += pc.fill_null(pc.equal(answers, ""), False).to_numpy(zero_copy_only=False)
    return total


def control_characters(records: Records) -> Column:
    """Characters that no text has: control characters other than tab and line ends, and U+FFFD for lost bytes."""
    pattern = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\ufffd]"
    total = np.zeros(len(records))
    for turns in records.parts.values():
        found = pc.count_substring_regex(turns.contents, pattern).to_numpy(zero_copy_only=False)
        total += np.bincount(turns.message_owner, weights=found, minlength=len(records))
    return total


def roles_alternate(records: Records) -> Column:
    """Whether nobody speaks twice in a row (tools may) and the system only at the beginning, across prompt and answer."""
    bad = np.zeros(len(records), dtype=np.int64)
    for turns in records.parts.values():
        inside = np.flatnonzero(np.diff(turns.message_owner, prepend=-1) == 0)
        starts = set(turns.bounds[:-1].tolist())
        inside = inside[[at not in starts for at in inside.tolist()]] if len(starts) > len(records) else inside
        wrong = inside[_clash(turns.roles[inside - 1], turns.roles[inside])]
        bad += np.bincount(turns.message_owner[wrong], minlength=len(records))
    for answer in records.answers:
        before = records.parts["prompt"].edge(last=True)[answer.owner]
        after = answer.edge(last=False)
        wrong_edge = (before >= 0) & (after >= 0) & _clash(before, after)
        bad += np.bincount(answer.owner[wrong_edge], minlength=len(records))
    return bad == 0


def _clash(one: Column, other: Column) -> Column:
    """Whether a message of role `other` may not follow one of role `one`."""
    return ((one == other) & (other != TOOL)) | (other == SYSTEM)


def starts_with_user(records: Records) -> Column:
    """Whether the user speaks first, a system message aside."""
    turns, _ = records._asked
    first = turns.edge(last=False)
    second = np.full(len(first), -1)
    several = np.diff(turns.bounds) > 1
    second[several] = turns.roles[turns.bounds[:-1][several] + 1]
    return np.where(first == SYSTEM, second, first) == USER


def ends_with_assistant(records: Records) -> Column:
    """Whether every answer, or the conversation, ends with the assistant's words."""
    good = np.full(len(records), True)
    for turns in records.answers or [records._asked[0]]:
        good[turns.owner[turns.edge(last=True) != ASSISTANT]] = False
    return good


def ends_with_user(records: Records) -> Column:
    """Whether the prompt ends with something to answer: the user's words, or a tool's."""
    last = records._asked[0].edge(last=True)
    return (last == USER) | (last == TOOL)


def duplicate(records: Records) -> Column:
    """Whether an earlier record says the same, in normal form."""
    return _repeats(records.whole)


def _repeats(texts: pa.Array) -> Column:
    codes = pc.dictionary_encode(texts).indices.to_numpy(zero_copy_only=False)
    first = np.full(len(codes), True)
    first[np.unique(codes, return_index=True)[1]] = False
    return first


def near_duplicate(records: Records) -> Column:
    """Whether an earlier record is like it: MinHash over word 3-grams (128 permutations, 32 bands)."""
    try:
        import rensa
    except ImportError:
        raise _needs("near_duplicate", "rensa") from None
    finder = rensa.RMinHashDeduplicator(records.similarity, 128, True, 32, 42)
    shingles = [_shingles(text) for text in records.whole.to_pylist()]
    hashes = rensa.RMinHash.from_token_sets(shingles, 128, 42)
    return np.array([not finder.add(str(at), one) for at, one in enumerate(hashes)], dtype=bool)


def _shingles(text: str) -> list[str]:
    parts = text.split()
    return [" ".join(parts[at : at + 3]) for at in range(max(1, len(parts) - 2))]


def language_expected(records: Records) -> Column:
    """Whether the text is in the suite's language; fewer than 20 characters are taken to be."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise _needs("language_expected", "py3langid") from None
    if records.language is None:
        raise ConfigError("language_expected needs to know which", where="policies/quality", fix="set `language` in the suite")
    identify = LanguageIdentifier.from_pickled_model(MODEL_FILE)
    texts = ["\n".join(part.split("\x1f")[-1] for part in text.split("\x1e")) for text in records.whole.to_pylist()]
    return np.array([len(text) < 20 or identify.classify(text)[0] == records.language for text in texts], dtype=bool)


def _needs(feature: str, package: str) -> ConfigError:
    return ConfigError(
        f"the feature {feature} needs the package {package}",
        where="policies/quality",
        fix="pip install 'countersign[quality]', or take the expectation out of the suite",
    )


# --- leaks -----------------------------------------------------------------------------------------------------------


def leaks_held_out(records: Records) -> Column:
    """Whether the record asks what a held-out record asks, or quotes a held-out message of some length."""
    if records.held_out is None:
        return np.full(len(records), False)
    secret = {text for text in records.held_out.prompts if text}
    asks = [whole in secret or first in secret for whole, first in zip(records.prompts, records.openings, strict=True)]
    quotes = _quotes(records, [text.rsplit("\x1f", 1)[1] for text in secret])
    return np.array(asks, dtype=bool) | quotes


def _quotes(records: Records, held_out: Iterable[str]) -> Column:
    """Whether a message of the record contains one of the texts of at least `LONG_PROMPT` words."""
    anchors: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for text in held_out:
        parts = text.split(" ")
        if len(parts) >= LONG_PROMPT:
            anchors[parts[0]][" ".join(parts[:LONG_PROMPT])].append(text)
    found = np.full(len(records), False)
    for name, turns in records.parts.items():
        for at, text in enumerate(records.normal[name].to_pylist()):
            if _contains(text, anchors):
                found[turns.message_owner[at]] = True
    return found


def _contains(text: str, anchors: dict[str, dict[str, list[str]]]) -> bool:
    parts = text.split(" ")
    for at in range(len(parts) - LONG_PROMPT + 1):
        if parts[at] in anchors:
            candidates = anchors[parts[at]].get(" ".join(parts[at : at + LONG_PROMPT]), ())
            if any(candidate in text for candidate in candidates):
                return True
    return False


def leaks_split(records: Records) -> Column:
    """Whether a training record asks what a validation or test record of the same dataset asks."""
    train = pc.equal(records.table.column("split"), "train").to_numpy()
    elsewhere = {text for text, training in zip(records.prompts, train, strict=True) if text and not training}
    return np.array([bool(training) and text in elsewhere for text, training in zip(records.prompts, train, strict=True)])


# --- preference ------------------------------------------------------------------------------------------------------


def chosen_equals_rejected(records: Records) -> Column:
    """Whether both answers say the same, in normal form."""
    return pc.equal(records.joined("chosen"), records.joined("rejected")).to_numpy(zero_copy_only=False)


def contradicted(records: Records) -> Column:
    """Whether an earlier record judges the same answers the other way round."""
    prompt = records.joined("prompt").to_pylist()
    if records.kind == "unpaired":
        answers = records.joined("completion").to_pylist()
        said = [(p, a, label) for p, a, label in zip(prompt, answers, records.table.column("label").to_pylist(), strict=True)]
        return _opposed(said, lambda one: (one[0], one[1], not one[2]))
    chosen, rejected = records.joined("chosen").to_pylist(), records.joined("rejected").to_pylist()
    return _opposed(list(zip(prompt, chosen, rejected, strict=True)), lambda one: (one[0], one[2], one[1]))


def _opposed(said: list[tuple[Any, ...]], reverse: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Column:
    seen: set[tuple[Any, ...]] = set()
    found = []
    for one in said:
        found.append(reverse(one) in seen and reverse(one) != one)
        seen.add(one)
    return np.array(found, dtype=bool)


def chosen_longer(records: Records) -> Column:
    """1 where the chosen answer is the longer one, 0.5 where they are equal: its mean shows a bias for length."""
    chosen, rejected = (_lengths(records, records.parts[name]) for name in ("chosen", "rejected"))
    return np.where(chosen == rejected, 0.5, (chosen > rejected).astype(float))


def answers_start_with_assistant(records: Records) -> Column:
    """Whether every answer begins with the assistant's words: if not, the two prompts of a pair did not agree."""
    good = np.full(len(records), True)
    for turns in records.answers:
        good[turns.owner[turns.edge(last=False) != ASSISTANT]] = False
    return good


def shortest_answer(records: Records) -> Column:
    """Characters of the shortest answer."""
    shortest = np.full(len(records), np.inf)
    for turns in records.answers:
        lengths = pc.utf8_length(turns.contents).to_numpy(zero_copy_only=False)
        sequence = np.repeat(np.arange(len(turns.owner)), np.diff(turns.bounds))
        np.minimum.at(shortest, turns.owner, np.bincount(sequence, weights=lengths, minlength=len(turns.owner)))
    return np.where(np.isinf(shortest), np.nan, shortest)


# --- unpaired, prompt ------------------------------------------------------------------------------------------------


def label(records: Records) -> Column:
    """1 where the completion is wanted, 0 where not."""
    return records.table.column("label").to_numpy().astype(float)


def has_answer(records: Records) -> Column:
    """Whether there is a reference answer that is not empty."""
    answers = normal_form(records.table.column("answer").combine_chunks())
    return pc.fill_null(pc.not_equal(answers, ""), False).to_numpy(zero_copy_only=False)


# --- rated -----------------------------------------------------------------------------------------------------------


def _ratings(records: Records) -> tuple[Column, Column]:
    """(record, value) of every rating."""
    array = records.table.column("ratings").combine_chunks()
    owner = np.repeat(np.arange(len(records)), pc.list_value_length(array).to_numpy(zero_copy_only=False))
    return owner, array.flatten().field("value").to_numpy(zero_copy_only=False)


def _compared(records: Records) -> Column:
    """Whether a record compares answers rather than scoring one."""
    return np.bincount(records.parts["completions"].owner, minlength=len(records)) > 1


def raters(records: Records) -> Column:
    """Ratings per record."""
    return np.bincount(_ratings(records)[0], minlength=len(records))


def ratings_valid(records: Records) -> Column:
    """Whether ratings of compared answers name one of them, or 0 for a tie."""
    owner, value = _ratings(records)
    answers = np.bincount(records.parts["completions"].owner, minlength=len(records))
    wrong = (answers[owner] > 1) & ((value != np.round(value)) | (value < 0) | (value > answers[owner]))
    return np.bincount(owner[wrong], minlength=len(records)) == 0


def rater_majority(records: Records) -> Column:
    """The share of raters who gave the commonest rating of a record."""
    owner, value = _ratings(records)
    pairs, counts = np.unique(np.column_stack([owner, value]), axis=0, return_counts=True)
    most = np.zeros(len(records))
    np.maximum.at(most, pairs[:, 0].astype(np.int64), counts)
    total = raters(records)
    return np.divide(most, total, out=np.full(len(records), np.nan), where=total > 0)


def rater_alpha(records: Records) -> Column:
    """Krippendorff's alpha of the whole dataset in every row: nominal for compared answers, interval for scores."""
    owner, value = _ratings(records)
    compared = _compared(records)
    alphas = [
        krippendorff_alpha(owner[rows], value[rows], nominal)
        for rows, nominal in ((compared[owner], True), (~compared[owner], False))
        if rows.any()
    ]
    return np.full(len(records), min(alphas) if alphas else np.nan)


def krippendorff_alpha(unit: Column, value: Column, nominal: bool) -> float:
    """1 - observed / expected disagreement; NaN where nothing was rated twice or all ratings are equal.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), https://repository.upenn.edu/asc_papers/43.
    """
    _, unit = np.unique(unit, return_inverse=True)
    paired = np.bincount(unit)[unit] > 1
    unit, value = unit[paired], value[paired]
    if not len(value):
        return float("nan")
    size = np.bincount(unit)
    size = size.astype(float)
    total = float(len(value))
    if nominal:
        _, codes = np.unique(value, return_inverse=True)
        cells = np.unique(np.column_stack([unit, codes]), axis=0, return_counts=True)
        within = size**2 - np.bincount(cells[0][:, 0], weights=cells[1].astype(float) ** 2, minlength=len(size))
        overall = total**2 - float(np.sum(np.bincount(codes).astype(float) ** 2))
    else:
        value = value - value.mean()
        sums = np.bincount(unit, weights=value, minlength=len(size))
        within = 2 * (size * np.bincount(unit, weights=value**2, minlength=len(size)) - sums**2)
        overall = 2 * (total * float(np.sum(value**2)) - float(np.sum(value)) ** 2)
    observed = float(np.sum(np.divide(within, size - 1, out=np.zeros_like(within), where=size > 1))) / total
    expected = overall / (total * (total - 1))
    return 1 - observed / expected if expected > 0 else float("nan")


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feature:
    """One column of the frame."""

    compute: Callable[[Records], Column]
    kinds: frozenset[str]


_ANY = frozenset(KINDS)


def _feature(compute: Callable[[Records], Column], *kinds: str) -> tuple[str, Feature]:
    return compute.__name__, Feature(compute, frozenset(kinds) or _ANY)


FEATURES: dict[str, Feature] = dict(
    (
        _feature(messages),
        _feature(characters),
        _feature(words),
        _feature(empty_texts),
        _feature(control_characters),
        _feature(roles_alternate),
        _feature(starts_with_user),
        _feature(ends_with_assistant, "conversation", "preference", "unpaired", "rated"),
        _feature(ends_with_user, "preference", "unpaired", "prompt", "rated"),
        _feature(duplicate),
        _feature(near_duplicate),
        _feature(language_expected),
        _feature(leaks_held_out),
        _feature(leaks_split),
        _feature(chosen_equals_rejected, "preference"),
        _feature(contradicted, "preference", "unpaired"),
        _feature(chosen_longer, "preference"),
        _feature(answers_start_with_assistant, "preference", "unpaired", "rated"),
        _feature(shortest_answer, "preference", "unpaired", "rated"),
        _feature(label, "unpaired"),
        _feature(has_answer, "prompt"),
        _feature(raters, "rated"),
        _feature(ratings_valid, "rated"),
        _feature(rater_majority, "rated"),
        _feature(rater_alpha, "rated"),
    )
)
"""Name to feature."""


def compute(records: Records, names: Iterable[str]) -> dict[str, Column]:
    """The named features. Raises `ConfigError` for one that does not exist, or not for this kind."""
    wanted = list(dict.fromkeys(names))
    known = sorted(name for name, one in FEATURES.items() if records.kind in one.kinds)
    wrong = [name for name in wanted if name not in known]
    if wrong:
        raise ConfigError(
            f"a {records.kind} has no feature {', '.join(wrong)}",
            where="policies/quality: column",
            expected=f"one of: {', '.join(known)}",
        )
    return {name: FEATURES[name].compute(records) for name in wanted}
