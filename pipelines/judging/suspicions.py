"""Finds models that win with one answer to every question: a judge that prefers it is fooled (Zheng
et al. 2024, https://arxiv.org/abs/2410.07137).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from pipelines.judging.battles import TIE, Battle
from pipelines.judging.resampling import FEWEST
from pipelines.sources.plain_names import plain_name

SHARE = 0.9
"""Of a model's answers that are one and the same text."""
WINS = 0.1
"""Of its comparisons that it wins, at least."""


def suspicions(battles: Iterable[Battle]) -> Iterator[Finding]:
    """Findings about models."""
    answers: dict[str, dict[str, bytes]] = defaultdict(dict)
    wins: dict[str, list[bool]] = defaultdict(list)
    for battle in battles:
        if battle.answers is None or battle.win is None or not battle.answers[0].digest:
            continue
        sides = zip((battle.first, battle.second), (battle.win, 1 - battle.win), strict=True)
        for at, (model, win) in enumerate(sides):
            answers[model][battle.item] = battle.answers[at].digest
            wins[model].append(win > TIE)
    for model, texts in answers.items():
        common = Counter(texts.values()).most_common(1)[0][1]
        share, won = common / len(texts), sum(wins[model]) / len(wins[model])
        if len(texts) >= FEWEST and share >= SHARE and won >= WINS:
            found = f"one answer to {share:.0%} of {len(texts):,} questions wins {won:.0%}"
            expected = f"less than {WINS:.0%} for a model that always says the same"
            subject = f"model {plain_name(model)}"
            yield finding("CONSTANT_ANSWER_WINS", subject, found=found, expected=expected)
