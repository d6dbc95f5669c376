"""What a model thinks before it answers: `<think>...</think>` at the beginning of a text.

Records keep it as a part of its own. The answer is scored, everything is scanned. Models generate
text, so rewards and metrics divide it here.
"""

from __future__ import annotations

import re

OPENS, CLOSES = "<think>", "</think>"

_BLOCK = re.compile(rf"\s*{OPENS}(.*?){CLOSES}\s*", re.DOTALL)


def divided(text: str) -> tuple[str | None, str]:
    """The thinking of a text, and the answer after it. A text without a whole block at its
    beginning has none.
    """
    block = _BLOCK.match(text)
    if block is None:
        return None, text
    return block.group(1).strip("\n"), text[block.end() :]


def joined(thinking: str | None, answer: str) -> str:
    """The text of thinking and answer, as most chat templates write it."""
    return answer if thinking is None else f"{OPENS}\n{thinking}\n{CLOSES}\n\n{answer}"


def answer_of(text: str, *, opened: bool = False) -> str:
    """The answer of a generated text: what is scored. It is empty where the model still thinks.

    `opened`: the chat template has begun the block, so that the text begins within it.
    """
    whole = f"{OPENS}{text}" if opened else text
    if whole.lstrip().startswith(OPENS) and CLOSES not in whole:
        return ""
    return divided(whole)[1]
