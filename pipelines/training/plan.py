"""What a training is given and what it results in: `pipelines.training.fit` runs a plan, in the
stage's process or in those of a launcher.
"""

from __future__ import annotations

from pathlib import Path

from governance.attest.predicates import EarlyStop, RecordUse, Selected
from governance.attest.predicates.training import Looks
from governance.base.model import Model
from governance.policy.data import TrainingRules
from pipelines.failures import Stopped
from pipelines.training import callbacks
from pipelines.training.objective import Objective

PARENT = "COUNTERSIGN_PARENT"
"""Environment variable: PID@HOST of the stage that launched this process."""
FAILURE = "failure.json"
"""File of the work folder for the error of a launched process (`LaunchedError`)."""
ARGUMENTS = "arguments.json"
"""File of the work folder for the trainer's resolved arguments, for display."""
SIGNALS = "signals.jsonl"
"""File of the work folder for the signals of launched processes: [step, all steps, signals]."""


class Plan(Model):
    """Everything that one training run uses, by path."""

    stage: str
    objective: Objective
    parent: Path
    """A model folder; for a method that starts from scratch, one with a config.json and no weights.
    """
    scorer: Path | None
    """The reward model, if a reward is `model`."""
    records: Path
    """A folder of shards of the method's kind. Its `train` split trains, its `validation` split is
    evaluated.
    """
    planted: Path | None = None
    """Canaries, as records of the same kind, that join the split `train`."""
    work: Path
    """Work folder that survives a kill: checkpoints while training; then `trained/` (adapter or
    model, tokenizer) and `fitted.json`.
    """
    checkpoint_seconds: float = callbacks.CHECKPOINT_SECONDS
    limits: TrainingRules | None = None
    """How many records it may leave out or cut."""


class Fitted(Model):
    """The result of a training run. Deterministic, except `device` on another machine."""

    steps: int
    use: dict[str, RecordUse]
    """Split to what became of its records."""
    device: str
    cuda: str = ""
    """The CUDA version of PyTorch's build, on a GPU."""
    generation: dict[str, str] = {}
    """Engine, mode and version of what generated, where that is vLLM."""
    processes: int
    history: list[dict[str, float]]
    """step and signals, in order."""
    thinking: str = ""
    """The member of messages in which the chat template got what the assistant thought; empty where
    no record has any.
    """
    stopped: EarlyStop | None = None
    """Why it ended early."""
    selected: Selected | None = None
    """The step whose model it is, where it is not the last one's."""
    looks: Looks | None = None
    """What it saw of held-back records."""

    @property
    def records(self) -> int:
        """Records that were trained on."""
        return self.use["train"].used


class LaunchedError(Model):
    """The error of a launched process."""

    text: str
    exit_code: int
    stopped: Stopped | None = None
    """For an error that is recorded."""
