"""What the source of a reward function declares, in constants: `PURPOSE`, `RANGE`, `BLIND_SPOTS`,
`COUNTER_METRICS`. The text is read and never run.
"""

from __future__ import annotations

import ast
import math
from typing import Any

from pydantic import ValidationError, field_validator, model_validator

from governance.base.errors import ConfigError
from governance.base.model import Model

SCORER = "model"
"""In place of a function's name: the stage's scorer. Its source is this word."""


class RewardDeclaration(Model):
    """What a file says about its function. All is empty in a file that says nothing."""

    purpose: str = ""
    range: tuple[float | None, float | None] | None = None
    """The least and the greatest score; None for no bound."""
    blind_spots: list[str] = []
    """What the function does not see."""
    counter_metrics: list[str] = []
    """The metrics that fall when the function is gamed."""

    @field_validator("purpose", "blind_spots", "counter_metrics")
    @classmethod
    def _can_be_written(cls, value: str | list[str]) -> str | list[str]:
        """A lone surrogate stands in no file."""
        "".join(value).encode()
        return value

    @model_validator(mode="after")
    def _ordered(self) -> RewardDeclaration:
        low, high = self.range or (None, None)
        if low is not None and high is not None and low >= high:
            raise ValueError("the range is empty")
        return self

    def holds(self, score: float) -> bool:
        """Whether a score lies in the range. One that is not finite does: another check stops
        it.
        """
        if not math.isfinite(score):
            return True
        low, high = self.range or (None, None)
        return not ((low is not None and score < low) or (high is not None and score > high))

    @property
    def bounds(self) -> str:
        """The range in words."""
        low, high = self.range or (None, None)
        if low is None and high is None:
            return "any number"
        if high is None:
            return f"at least {low:g}"
        return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def parsed(text: str, where: str) -> ast.Module:
    """The syntax of a function's file. Raises `ConfigError` where it is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f"{where}:{line}" if line else where
        raise ConfigError("it is not valid Python", where=place) from None


def declared(tree: ast.Module, where: str) -> RewardDeclaration:
    """The declaration of a function's file. Raises `ConfigError`."""
    wanted = {field.upper(): field for field in RewardDeclaration.model_fields}
    found: dict[str, Any] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if not isinstance(target, ast.Name) or target.id not in wanted:
                continue
            try:
                found[wanted[target.id]] = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                expected = "a text, number, list or tuple, written out"
                raise ConfigError(
                    f"{target.id} is computed", where=f"{where}:{node.lineno}", expected=expected
                ) from None
    try:
        return RewardDeclaration(**found)
    except ValidationError as error:
        fields = ", ".join(sorted({str(each["loc"][0]) for each in error.errors() if each["loc"]}))
        expected = (
            "PURPOSE = text, RANGE = (least, greatest), BLIND_SPOTS and COUNTER_METRICS = lists of"
            " texts"
        )
        found_ = f"{fields.upper() or 'RANGE'} cannot be read"
        raise ConfigError(found_, where=where, expected=expected) from None
