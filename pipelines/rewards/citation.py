"""The share of the answer's citations, written `[1]`, that name a given source; 0 for an answer
without a citation or without other text.

`sources` is an extra column of the record: a list of texts, or their number. With `quoted`, at
least half of the words of a sentence must stand in a source that the sentence cites.
"""

import re
from typing import Any

PURPOSE = "what the answer says is cited from the given sources"
RANGE = (0, 1)
BLIND_SPOTS = [
    "whether a source supports the sentence is not judged; `quoted` compares words only",
    "sentences without a citation cost nothing: one cited sentence has the best score",
]
COUNTER_METRICS = ["greedy_exact", "sampled_exact"]


def citation(text: str, answer: str | None, sources: Any = 0, quoted: bool = False) -> float:
    texts = list(sources) if isinstance(sources, list | tuple) else []
    count = len(texts) or (sources if isinstance(sources, int) else 0)
    marks = re.compile(r"\[(\d{1,4})\]")
    right = total = 0
    for sentence in re.split(r"(?<=[.!?])\s+(?!\[)", text):
        words = set(re.findall(r"\w+", marks.sub(" ", sentence).lower()))
        for mark in marks.findall(sentence):
            at, total = int(mark), total + 1
            if words and 1 <= at <= count:
                source = set(re.findall(r"\w+", str(texts[at - 1]).lower())) if texts else set()
                right += not quoted or 2 * len(words & source) >= len(words)
    return right / total if total else 0.0
