"""The share of the reference's `;`-separated fields that stand at their place, less a tenth for
each field too many.
"""

PURPOSE = "more fields of a routing line are right"
RANGE = (0, 1)
BLIND_SPOTS = [
    "all fields count the same, also where one wrong field makes the answer useless",
    "a right field at another place scores 0",
]
COUNTER_METRICS = ["greedy_exact", "sampled_unsafe"]


def route_fields(text: str, answer: str | None) -> float:
    wanted = [part.strip().lower() for part in (answer or "").split(";") if part.strip()]
    given = [part.strip().lower() for part in text.split(";") if part.strip()]
    if not wanted:
        return 0.0
    right = sum(a == b for a, b in zip(wanted, given, strict=False))
    return max(0.0, right / len(wanted) - 0.1 * max(0, len(given) - len(wanted)))
