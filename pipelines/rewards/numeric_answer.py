"""1 when the last number of the answer (after `####` where there is one) is the reference's (as in
GSM8K).
"""

import re

PURPOSE = "the final number is right"
RANGE = (0, 1)
BLIND_SPOTS = [
    "the reasoning before the number is not judged",
    "an answer of nothing but a number scores as well as a solution",
    "fractions and units are not understood",
]
COUNTER_METRICS = ["numeric_accuracy"]


def numeric_answer(text: str, answer: str | None) -> float:
    values = []
    for given in (text, answer or ""):
        numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", given.rpartition("####")[2])
        values.append(float(numbers[-1].replace(",", "")) if numbers else None)
    return float(values[0] is not None and values[0] == values[1])
