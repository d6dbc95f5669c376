"""Whether a model is a language model or a reward model.

A stage's method says it of the stage's model. Of a registered version that is a base, the training
in the log that made its bytes says it. Any other base is a language model, and so is a version that
was trained elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governance.base.errors import ConfigError
from pipelines.training.methods import ModelClass, method

if TYPE_CHECKING:
    from pipelines.job import Job
    from pipelines.params import Params


def declared_class(params: Params, name: str) -> ModelClass:
    """The class as params.yaml alone says it, before there are files or a log: a registered version
    counts as a language model.
    """
    return method(params.stages[name].method).model if name in params.stages else "language"


def class_of(job: Job, name: str, role: str) -> ModelClass:
    """The class of the stage or base `name`, whose folder is the job's input `role`."""
    base = job.params.bases.get(name)
    if base is None or not base.is_own_version:
        return declared_class(job.params, name)
    from pipelines.own_version import trained_by

    trained = trained_by(job.evidence.signed_under(job.policies), job.inputs[role].sha256)
    return method(trained).model if trained else "language"


def require_language(job: Job, name: str, role: str, where: str) -> None:
    """Raises `ConfigError` for a reward model, which writes nothing."""
    if class_of(job, name, role) != "language":
        raise ConfigError(f"{name} is a reward model", where=where, expected="a language model")
