"""1 when the last option letter that stands alone in the answer (A to E) is the reference's (as in
AQuA).
"""

import re

PURPOSE = "the final choice is right"
RANGE = (0, 1)
BLIND_SPOTS = [
    "the reasoning before the letter is not judged",
    "one letter alone is right by chance once in five times",
    "the article A counts as an option where it stands last",
]
COUNTER_METRICS = ["choice_accuracy"]


def choice_answer(text: str, answer: str | None) -> float:
    letters = re.findall(r"\b([A-E])\b", text)
    wanted = re.findall(r"\b([A-E])\b", answer or "")
    return float(bool(letters) and bool(wanted) and letters[-1] == wanted[-1])
