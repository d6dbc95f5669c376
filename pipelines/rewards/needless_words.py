"""The share of an answer's words that a short reference does not need: 1 - words of the reference /
words of the answer; 0 where the answer is no longer.
"""

PURPOSE = "an answer to a short question is not longer than it needs to be"
RANGE = (0, 1)
BLIND_SPOTS = [
    "it counts words: a wrong answer, or none, scores as well as a right one of the same length",
    "words are what stands between spaces, so a text without spaces is one word",
    "a reference that is longer than it needs to be excuses long answers",
]
COUNTER_METRICS = ["greedy_holds_answer"]


def needless_words(text: str, answer: str | None) -> float:
    words, needed = len(text.split()), len((answer or "").split())
    return 1 - needed / words if words > needed else 0.0
