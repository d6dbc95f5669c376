"""Methods of MLflow's stores behind our checks, and our errors as MLflow's: what a caller of the
REST API, the UI or the client gets.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
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


def answer(error: CountersignError) -> MlflowException:
    """403 for a refusal, 409 where somebody else was first, 503 where the log or disk is not there,
    500 otherwise.
    """
    if isinstance(error, RefusedError):
        return MlflowException(f"{MARK}: {error}", PERMISSION_DENIED)
    if isinstance(error, BusyError):
        return MlflowException(f"Countersign: {error}", RESOURCE_CONFLICT)
    code = TEMPORARILY_UNAVAILABLE if isinstance(error, StorageError) else INTERNAL_ERROR
    return MlflowException(f"Countersign: {error}", code)


def answering(method: F) -> F:
    """Our errors of a method as MLflow's; a fault of ours is an error too, never a way through."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except CountersignError as error:
            raise answer(error) from error

    return call  # type: ignore[return-value]


def guarded(
    store: type,
    name: str,
    check: Callable[[Any, str, Mapping[str, Any]], AbstractContextManager[None]],
) -> Callable[..., Any]:
    """The method of MLflow's `store`, run within `check`, which gets our store, the method's name
    and its arguments by name. What `check` raises stops the call.
    """
    original = getattr(store, name)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = dict(signature.bind(self, *args, **kwargs).arguments)
        del arguments["self"]
        with check(self, name, arguments):
            return original(self, *args, **kwargs)

    return answering(method)
