"""1 when the answer is the reference, spaces and letter case aside, and nothing more."""

PURPOSE = "the whole answer is right"
RANGE = (0, 1)
BLIND_SPOTS = [
    "an answer that means the same in other words scores 0",
    "an answer that is nearly right teaches nothing",
]
COUNTER_METRICS = ["sampled_unsafe"]


def route_exact(text: str, answer: str | None) -> float:
    return float(
        answer is not None and " ".join(text.split()).lower() == " ".join(answer.split()).lower()
    )
