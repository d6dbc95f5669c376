"""Trainer callbacks: signals for listeners, and checkpoints by the clock.

Neither changes the result: a checkpoint draws no random number, and resuming from one gives the
same bits (`tests/pipelines/test_resume.py`).
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from governance.attest import digests
from governance.base.errors import InputError

CHECKPOINT_SECONDS = 10.0
"""Minimum seconds between two checkpoints."""
CHECKPOINT_SHARE = 0.05
"""Maximum share of the time for writing checkpoints."""

Listener = Callable[[int, int, Mapping[str, float]], None]
"""Called with (step, all steps, signals) at each step; signals are empty if the step logged
none.
"""


def signals_of(logs: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float]:
    """The finite figures of a log line that the method reports, including the means of its reward
    functions.
    """
    signals = {}
    for name, value in logs.items():
        reported = name in names or _of_a_reward(name) or name.startswith(FURTHER)
        finite = isinstance(value, int | float) and math.isfinite(value)
        if reported and finite and not name.endswith(TIMINGS):
            signals[name] = float(value)
    return signals


FURTHER = ("eval_", "suite/", "tools/")
"""Beginnings of what else is reported: evaluations, looks (`looks`), and calls of tools."""

TIMINGS = ("_runtime", "_per_second")
"""Endings of figures that differ between two runs of the same thing."""


def _of_a_reward(name: str) -> bool:
    return name.startswith("rewards/") and name.endswith("/mean")


def watching(listener: Listener, names: tuple[str, ...]) -> Any:
    """A callback that passes every step and log line to `listener`."""
    from transformers import TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            for line in state.log_history:  # of the run that was killed, where this one goes on
                listener(int(line["step"]), state.max_steps, signals_of(line, names))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            listener(state.global_step, state.max_steps, {})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            listener(state.global_step, state.max_steps, signals_of(logs or {}, names))

    return Watching()


def checkpointing(grain: int, seconds: float = CHECKPOINT_SECONDS) -> Any:
    """A callback that writes a checkpoint on steps divisible by `grain`, as often as time allows;
    with 0 seconds at all of them.

    With several processes the first one's clock decides for all.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    class Checkpointing(TrainerCallback):  # type: ignore[misc]
        began = written = time.monotonic()
        wait = seconds

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if state.global_step % grain == 0 and state.global_step < state.max_steps:
                due = [time.monotonic() - self.written >= self.wait]
                if args.world_size > 1:
                    due = broadcast_object_list(due)
                control.should_save = due[0]
            self.began = time.monotonic()
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            PartialState().wait_for_everyone()  # each process writes its own shard
            if state.is_world_process_zero:
                seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")
            self.written = time.monotonic()
            took = self.written - self.began
            self.wait = max(seconds, took / CHECKPOINT_SHARE) if seconds else 0.0

    return Checkpointing()


SEAL = "complete.json"
"""File of a checkpoint with the sha256 of all its others; it is written last."""


def seal(folder: Path) -> None:
    """Marks a checkpoint as complete. FSDP and DeepSpeed write their shards into folders."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    listed = {
        path.relative_to(folder).as_posix(): digests.sha256_file(path)
        for path in files
        if path != folder / SEAL
    }
    temporary = folder / f"{SEAL}.tmp"
    temporary.write_text(json.dumps(listed, sort_keys=True), encoding="utf-8")
    temporary.replace(folder / SEAL)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint. Incomplete ones (a kill while writing) are removed."""
    checkpoints = list(folder.glob("checkpoint-*"))
    for newest in sorted(checkpoints, key=lambda path: -int(path.name.rpartition("-")[2])):
        if _whole(newest):
            return newest
        shutil.rmtree(newest)
    return None


def _whole(folder: Path) -> bool:
    try:
        listed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return bool(listed) and all(
            digests.sha256_file(folder / name) == sha256 for name, sha256 in listed.items()
        )
    except (OSError, ValueError, InputError):
        return False
