"""1 when the answer has the reference as whole words, whatever else it has; 0 otherwise."""

import re

PURPOSE = "the answer holds the reference"
RANGE = (0, 1)
BLIND_SPOTS = [
    "an answer that denies the reference, or names several, scores as well as a right one",
    "the reference in other words is not found",
]
COUNTER_METRICS = ["greedy_needless_words"]


def holds_answer(text: str, answer: str | None) -> float:
    words = rf"(?<!\w){re.escape(answer or '')}(?!\w)"
    return float(bool(answer) and re.search(words, text, re.IGNORECASE) is not None)
