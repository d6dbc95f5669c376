"""1 for an answer of at most `most` words, less in proportion for each word more; 0 for an empty
answer and for one of twice as many words.
"""

PURPOSE = "the answer is short"
RANGE = (0, 1)
BLIND_SPOTS = [
    "what the answer says is not judged: one word alone has the best score",
    "words are separated by spaces, so that a text in Chinese counts as one word",
]
COUNTER_METRICS = ["greedy_exact", "sampled_exact"]


def brevity(text: str, answer: str | None, most: int = 40) -> float:
    words = len(text.split())
    return max(0.0, min(1.0, 2 - words / most)) if words else 0.0
