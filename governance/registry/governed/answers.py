"""MLflow's methods behind our checks, and our errors as MLflow's own: a caller of the REST API, the
UI or the client gets these.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    PERMISSION_DENIED,
    RESOURCE_CONFLICT,
    TEMPORARILY_UNAVAILABLE,
)

from governance.base.errors import BusyError, CountersignError, RefusedError, StorageError
from governance.registry.governed.rules import MARK

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=type)
Check = Callable[[Any, str, Mapping[str, Any]], AbstractContextManager[None]]
"""Gets our store, the name of the method and its arguments by name."""


def answer(error: CountersignError) -> MlflowException:
    """403 for a refusal, 409 where another call was first, 503 where log or disk cannot be used,
    500 otherwise.
    """
    if isinstance(error, RefusedError):
        return MlflowException(f"{MARK}: {error}", PERMISSION_DENIED)
    if isinstance(error, BusyError):
        return MlflowException(f"Countersign: {error}", RESOURCE_CONFLICT)
    code = TEMPORARILY_UNAVAILABLE if isinstance(error, StorageError) else INTERNAL_ERROR
    return MlflowException(f"Countersign: {error}", code)


def answering(method: F) -> F:
    """Turns our errors of a method into MLflow's. Any other error of ours also stops the call."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except CountersignError as error:
            raise answer(error) from error

    return call  # type: ignore[return-value]


def guarded(names: Iterable[str], check: Check) -> Callable[[S], S]:
    """A class decorator for a store of ours: MLflow's methods of these names run within `check`.
    What `check` raises stops the call. Methods that the class defines itself stay as they are.
    """

    def decorate(store: S) -> S:
        for name in names:
            if name not in vars(store):
                setattr(store, name, _within(check, name, getattr(store, name)))
        return store

    return decorate


def _within(check: Check, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = dict(signature.bind(self, *args, **kwargs).arguments)
        del arguments["self"]
        with check(self, name, arguments):
            return original(self, *args, **kwargs)

    return answering(method)
