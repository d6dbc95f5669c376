"""Runs a plan and kills its own process after a given step, as `kill -9` or a power cut would."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines.training.fit import Plan, fit


def main(path: str, last: int) -> None:
    def listener(step: int, steps: int, signals: Mapping[str, float]) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    fit(Plan.model_validate_json(Path(path).read_text(encoding="utf-8")), listener)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
