"""What identifies a judged suite: prompts, settings, judge and opponent. Imports nothing that a
gate does not need.
"""

from __future__ import annotations

import json
from pathlib import Path

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.base.errors import InputError
from pipelines.params import JudgeCheck, JudgedEvaluation

WIN_RATE, AT_EQUAL_LENGTH = "win_rate", "win_rate_at_equal_length"
"""The metrics."""
NAMES = {"model", "suite", "opponent", "judge", "threads"}
"""Fields of a row that are names, or no part of what is asked."""
ASKING = {"seed", "max_new_tokens", "batch_size"}
"""How the judge is asked: as its card was made."""


def suite_digest(
    row: JudgedEvaluation, asked: JudgeCheck, records: str, judge: str, opponent: str
) -> str:
    """Identifies a judged evaluation. Results with the same digest can be compared item by item.
    `records`, `judge`, `opponent`: digests.
    """
    content = {
        "harness": "judged",
        "records": records,
        "judge": judge,
        "opponent": opponent,
        "settings": row.model_dump(mode="json", exclude=NAMES | {"prompts"}),
        "asking": asked.model_dump(mode="json", include=ASKING),
    }
    return sha256_bytes(canonical.dumps(content))


def judge_of_card(path: Path, row: str) -> str:
    """The digest of the judge of a card. Raises `InputError`."""
    try:
        judge = json.loads(path.read_text(encoding="utf-8"))["judge"]
    except (OSError, ValueError, KeyError, TypeError):
        fix = f"run `countersign repro check_judge@{row}`"
        raise InputError("no card that names its judge", where=str(path), fix=fix) from None
    return str(judge)
