"""What a training makes of its records: used, cut, or left out, counted in one way for all methods.

TRL's trainers differ: some filter records that are too long, some cut them, ORPO also trains on
pairs whose prompt leaves no room for an answer. So the records are measured before the trainer gets
them, with the same tokenizer, chat template and limits. Those from which nothing can be learned are
left out here, for every method:

1. an answer without a token of its own (`EMPTY_ANSWER`);
2. a prompt that fills `max_length` (`NO_ROOM`);
3. a pair with an answer that is too long, for a method that must see whole answers (`TOO_LONG`);
4. a prompt with several turns, for a method that generates one answer (`TURNS_UNANSWERED`).

What a trainer leaves out beyond that is counted as `OTHER`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from governance.attest.predicates import RecordUse
from pipelines.kinds import TURNS
from pipelines.training.chat import Tools, rendered, tools_of
from pipelines.training.methods import Method

CHUNK = 1000
"""Records whose tokens are in memory at a time."""
OTHER = "OTHER"
CUTTING_PACKING = "bfd"
"""The packing that cuts what is too long for a pack. The others go on in the next pack."""
DEFAULT_LIMIT = 512
"""ORPO's `max_length` where it is null."""

Ids = list[int]
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Limits:
    """How a trainer bounds a record."""

    length: int | None
    """Tokens; None where it has no limit."""
    cuts: bool
    """Whether a longer record is cut; else it is left out."""
    keeps_start: bool = True
    """Whether the beginning is kept where it is cut."""


@dataclass(frozen=True)
class Size:
    """Tokens of a record: where its answers begin, and the length with each answer."""

    start: int
    totals: tuple[int, ...]
    turns: bool = False
    """Whether the user has further turns, each after an answer that is not there."""


def limits_of(method: Method, args: Any) -> Limits:
    """The limits of a trainer with this configuration."""
    if method.rewards:
        return Limits(None, cuts=False)
    length = args.max_length
    if length is None and method.name == "orpo":
        length = DEFAULT_LIMIT
    if getattr(args, "packing", False) and args.packing_strategy != CUTTING_PACKING:
        return Limits(None, cuts=False)
    keeps_start = getattr(args, "truncation_mode", "keep_start") == "keep_start"
    return Limits(length, cuts=method.model == "language", keeps_start=keeps_start)


def measure(records: Any, tokenizer: Any, method: Method, args: Any) -> tuple[list[int], RecordUse]:
    """The positions of the records that can be used, and the counts of all."""
    limits, kept = limits_of(method, args), []
    dropped: Counter[str] = Counter()
    truncated = 0
    for position, size in enumerate(_sizes(records, tokenizer, method, args)):
        reason = left_out(size, limits)
        if reason:
            dropped[reason] += 1
            continue
        kept.append(position)
        truncated += limits.length is not None and max(size.totals) > limits.length
    counts = dict(sorted(dropped.items()))
    use = RecordUse(offered=len(records), used=len(kept), dropped=counts, truncated=truncated)
    return kept, use


def left_out(size: Size, limits: Limits) -> str | None:
    """Why a record is left out; None if it is used."""
    if size.turns:
        return "TURNS_UNANSWERED"
    if min(size.totals) <= size.start:
        return "EMPTY_ANSWER"
    if limits.length is None or max(size.totals) <= limits.length:
        return None
    if not limits.cuts:
        return "TOO_LONG"
    return "NO_ROOM" if limits.keeps_start and size.start >= limits.length else None


def unfinished(method: Method, args: Any, records: int) -> int:
    """How many records the trainer never reaches: GRPO and RLOO leave out the last batch of each
    pass if it is not full. In several passes in random order, others are left out each time.
    """
    if not method.rewards:
        return 0
    several = args.max_steps > 0 or args.num_train_epochs > 1
    if several and args.shuffle_dataset:
        return 0
    return int(records % max(1, args.generation_batch_size // args.num_generations))


def seen(method: Method, args: Any, steps: int, rows: int, used: int, processes: int) -> int | None:
    """How many of the used records a training of so many steps reached; None if it reached all.
    `rows`: those of the trainer, of which packed ones hold several records.
    """
    batches = steps * args.gradient_accumulation_steps
    if method.rewards:
        prompts = max(1, args.generation_batch_size // args.num_generations)
        reached = ceil(batches / (args.steps_per_generation * args.num_iterations)) * prompts
    else:
        reached = batches * args.train_batch_size * processes
    return None if reached >= rows else max(1, used * reached // rows)


def without(use: RecordUse, used: int) -> RecordUse:
    """The counts if the trainer used only so many."""
    more = use.used - used
    if more <= 0:
        return use
    dropped = {**use.dropped, OTHER: more}
    return use.model_copy(update={"used": used, "dropped": dropped})


def _sizes(records: Any, tokenizer: Any, method: Method, args: Any) -> Iterator[Size]:
    answers = ANSWERS[method.kind]
    whole = getattr(args, "assistant_only_loss", None) is False
    for at in range(0, len(records), CHUNK):
        rows = [records[position] for position in range(at, min(at + CHUNK, len(records)))]
        pairs = [answers(row, whole) for row in rows]
        tools = [tools_of(row) for row in rows]
        asked = [prompt for prompt, _ in pairs]
        prompts = _tokens(tokenizer, asked, tools, generates=True)
        if method.rewards:  # the answers are still to be generated
            for prompt, row in zip(prompts, rows, strict=True):
                yield Size(len(prompt), (len(prompt) + 1,), turns=bool(row.get(TURNS)))
            continue
        flat = [prompt + answer for prompt, several in pairs for answer in several]
        theirs = [given for given, (_, several) in zip(tools, pairs, strict=True) for _ in several]
        full = iter(_tokens(tokenizer, flat, theirs, generates=False))
        for prompt, (_, several) in zip(prompts, pairs, strict=True):
            yield _size(prompt, [next(full) for _ in several], tokenizer, method)


def _size(prompt: Ids, full: Sequence[Ids], tokenizer: Any, method: Method) -> Size:
    start = min(common_beginning(prompt, ids) for ids in full)
    totals = [len(ids) for ids in full]
    if method.name == "orpo" and min(totals) > start:
        # it adds the tokens of beginning and end where they are missing
        begins = tokenizer.bos_token_id is not None and prompt[:1] != [tokenizer.bos_token_id]
        ends = [ids[-1] != tokenizer.eos_token_id for ids in full]
        totals = [total + begins + end for total, end in zip(totals, ends, strict=True)]
        start += begins
    return Size(start, tuple(totals))


def common_beginning(first: Ids, second: Ids) -> int:
    """Length of the common beginning: where TRL lets the answer begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))


def _tokens(
    tokenizer: Any, conversations: list[Messages], tools: list[Tools | None], *, generates: bool
) -> list[Ids]:
    given = [
        (messages, theirs)
        for messages, theirs in zip(conversations, tools, strict=True)
        if messages
    ]
    if not given:
        return [[] for _ in conversations]
    texts = rendered(tokenizer, given, generates=generates)
    ids = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    return [list(next(ids)) if messages else [] for messages in conversations]


def _conversation(row: dict[str, Any], whole: bool) -> tuple[Messages, list[Messages]]:
    messages = list(row["messages"])
    roles = [message["role"] for message in messages]
    first = 0 if whole or "assistant" not in roles else roles.index("assistant")
    return messages[:first], [messages[first:]]


def _preference(row: dict[str, Any], whole: bool) -> tuple[Messages, list[Messages]]:
    return list(row["prompt"]), [list(row["chosen"]), list(row["rejected"])]


def _unpaired(row: dict[str, Any], whole: bool) -> tuple[Messages, list[Messages]]:
    return list(row["prompt"]), [list(row["completion"])]


def _prompt(row: dict[str, Any], whole: bool) -> tuple[Messages, list[Messages]]:
    return list(row["prompt"]), []


ANSWERS: dict[str, Callable[[dict[str, Any], bool], tuple[Messages, list[Messages]]]] = {
    "conversation": _conversation,
    "preference": _preference,
    "unpaired": _unpaired,
    "prompt": _prompt,
}
"""Kind to the prompt and the answers of a record."""
