"""Suites of Great Expectations in its own JSON: what `ExpectationSuite.to_json_dict()` of version
1.x writes, as the checks of a quality suite.

1. Only expectations of its core are read, with the arguments they have there. One that cannot judge
   numbers and truth values in memory is refused, with the reason.
2. A condition on rows is a tree of comparisons. Text that pandas would evaluate is refused: it can
   run code.
3. What the check does is in `meta.countersign` (`name`, `action`, `reason`). Without it, `critical`
   blocks, and `warning` and `info` only report.
4. Nothing is ignored that changes what is judged; a rendering could differ from what it renders.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from governance.attest import canonical
from governance.base.errors import ConfigError, CountersignError, did_you_mean
from governance.base.model import Json, Model, Slug
from governance.base.yaml import refuse_deceiving
from governance.policy.data import TABLE, FindingCode, QualityCheck, code_mistake

M = TypeVar("M", bound=Model)

NOT_MET = "EXPECTATION_NOT_MET"
"""The reason of a check that names none."""

_COLUMN = {"column"}
_PAIR = {"column_A", "column_B"}
_LIST = {"column_list"}
_ROWS = {"row_condition", "condition_parser"}
_BETWEEN = {"min_value", "max_value", "strict_min", "strict_max"}


class Kind(NamedTuple):
    """What one type of expectation takes."""

    needs: frozenset[str]
    takes: frozenset[str] = frozenset()
    """Arguments that may be left out."""
    names: bool = False
    """Whether the result names the records that fail."""
    each: bool = False
    """Whether it judges every record by itself, so that those that fail can be left out."""
    value: bool = True
    """Whether the result has a figure or list that was judged, where it names no records."""

    @property
    def arguments(self) -> frozenset[str]:
        """All arguments."""
        return self.needs | self.takes


def _whole(needs: set[str], *takes: str, value: bool = True) -> Kind:
    return Kind(frozenset(needs), frozenset({*takes, *_ROWS}), value=value)


def _frame(needs: set[str], *takes: str, value: bool = True) -> Kind:
    """It judges the columns of the table."""
    return Kind(frozenset(needs), frozenset(takes), value=value)


def _each(needs: set[str], *takes: str) -> Kind:
    return Kind(frozenset(needs), frozenset({"mostly", *takes, *_ROWS}), names=True, each=True)


def _among(needs: set[str], *takes: str) -> Kind:
    """It names records, and each by comparison with the others."""
    return _each(needs, *takes)._replace(each=False)


_FIGURES = ("max", "mean", "median", "min", "stdev", "sum", "unique_value_count")
_SHARES = ("proportion_of_non_null_values", "proportion_of_unique_values")

KINDS: dict[str, Kind] = {
    **{
        f"expect_column_{figure}_to_be_between": _whole(_COLUMN, *_BETWEEN)
        for figure in (*_FIGURES, *_SHARES)
    },
    **{
        f"expect_column_distinct_values_to_{what}_set": _whole(_COLUMN | {"value_set"}, value=False)
        for what in ("be_in", "contain", "equal")
    },
    "expect_column_kl_divergence_to_be_less_than": _whole(
        _COLUMN | {"partition_object", "threshold"},
        "internal_weight_holdout", "tail_weight_holdout", "bucketize_data", "min_value",
        "max_value",
    ),
    "expect_column_most_common_value_to_be_in_set": _whole(_COLUMN | {"value_set"}, "ties_okay"),
    "expect_column_quantile_values_to_be_between": _whole(
        _COLUMN | {"quantile_ranges"}, "allow_relative_error"
    ),
    "expect_column_to_exist": _frame(_COLUMN, "column_index", value=False),
    "expect_column_type_to_be": _frame(_COLUMN | {"type_"}),
    "expect_column_values_to_be_in_type_list": _whole(_COLUMN | {"type_list"}, "mostly"),
    "expect_column_values_to_be_of_type": _whole(_COLUMN | {"type_"}, "mostly"),
    "expect_column_value_lengths_to_be_between": _each(_COLUMN, *_BETWEEN),
    "expect_column_value_lengths_to_equal": _each(_COLUMN | {"value"}),
    "expect_column_values_to_be_between": _each(_COLUMN, *_BETWEEN),
    "expect_column_values_to_be_in_set": _each(_COLUMN | {"value_set"}),
    "expect_column_values_to_not_be_in_set": _each(_COLUMN | {"value_set"}),
    "expect_column_values_to_be_null": _each(_COLUMN),
    "expect_column_values_to_not_be_null": _each(_COLUMN),
    "expect_column_values_to_match_regex": _each(_COLUMN | {"regex"}),
    "expect_column_values_to_not_match_regex": _each(_COLUMN | {"regex"}),
    "expect_column_values_to_match_regex_list": _each(_COLUMN | {"regex_list"}, "match_on"),
    "expect_column_values_to_not_match_regex_list": _each(_COLUMN | {"regex_list"}),
    "expect_column_values_to_be_decreasing": _among(_COLUMN, "strictly"),
    "expect_column_values_to_be_increasing": _among(_COLUMN, "strictly"),
    "expect_column_values_to_be_unique": _among(_COLUMN),
    "expect_column_values_to_not_be_outliers": _among(_COLUMN, "method", "multiplier"),
    "expect_column_value_z_scores_to_be_less_than": _among(
        _COLUMN | {"threshold", "double_sided"}
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": _each(_PAIR, "or_equal", "ignore_row_if"),
    "expect_column_pair_values_to_be_equal": _each(_PAIR, "ignore_row_if"),
    "expect_column_pair_values_to_be_in_set": _each(_PAIR | {"value_pairs_set"}, "ignore_row_if"),
    "expect_compound_columns_to_be_unique": _among(_LIST, "ignore_row_if"),
    "expect_multicolumn_sum_to_equal": _each(_LIST | {"sum_total"}, "ignore_row_if"),
    "expect_multicolumn_values_to_be_equal": _each(_LIST, "ignore_row_if"),
    "expect_select_column_values_to_be_unique_within_record": _each(_LIST, "ignore_row_if"),
    "expect_table_column_count_to_be_between": _frame(set(), "min_value", "max_value"),
    "expect_table_column_count_to_equal": _frame({"value"}),
    "expect_table_columns_to_match_ordered_list": _frame(_LIST),
    "expect_table_columns_to_match_set": _frame({"column_set"}, "exact_match"),
    "expect_table_row_count_to_be_between": _whole(set(), *_BETWEEN),
    "expect_table_row_count_to_equal": _whole({"value"}),
}  # fmt: skip
"""Every expectation of Great Expectations' core that can judge features."""

_OF_TEXT = "it judges texts, and features are numbers and truth values"
_SQL = "it needs a data source with SQL, and features are a table in memory"

REFUSED: dict[str, str] = {
    "expect_column_values_to_be_dateutil_parseable": _OF_TEXT,
    "expect_column_values_to_be_json_parseable": _OF_TEXT,
    "expect_column_values_to_match_json_schema": _OF_TEXT,
    "expect_column_values_to_match_strftime_format": _OF_TEXT,
    "expect_column_values_to_match_like_pattern": _SQL,
    "expect_column_values_to_match_like_pattern_list": _SQL,
    "expect_column_values_to_not_match_like_pattern": _SQL,
    "expect_column_values_to_not_match_like_pattern_list": _SQL,
    "expect_query_results_to_match_comparison": _SQL,
    "unexpected_rows_expectation": _SQL,
    "expect_table_row_count_to_equal_other_table": "there is no other table beside the features",
}
"""Expectations of the core that cannot, and why."""


class _Ours(Model):
    """`meta.countersign` of an expectation."""

    name: Slug | None = None
    action: Literal["block", "drop", "report"] | None = None
    reason: FindingCode = NOT_MET


class _Expectation(Model):
    """One expectation as Great Expectations writes it."""

    type: str
    kwargs: dict[str, Json]
    severity: Literal["critical", "warning", "info"] = "critical"
    meta: dict[str, Json] | None = None
    id: str | None = None
    description: str | None = None
    notes: str | list[str] | None = None


class _Suite(Model):
    """A suite as Great Expectations writes it."""

    name: str
    expectations: list[dict[str, Json]] = Field(min_length=1)
    id: str | None = None
    meta: dict[str, Json] | None = None
    notes: str | list[str] | None = None


class GxCheck(QualityCheck):
    """An expectation of such a suite."""

    arguments: dict[str, Json]
    columns: list[str]
    """Every column that it reads."""
    mostly: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        kind = KINDS[self.check]
        if self.action == "drop" and not kind.each:
            raise ValueError("action drop needs an expectation that judges every record by itself")
        if self.action == "drop" and self.mostly not in (None, 1):
            raise ValueError("action drop leaves every offending record out; leave out `mostly`")
        if mistake := code_mistake(self.reason):
            raise ValueError(mistake)
        return self

    @property
    def names_records(self) -> bool:
        """Whether the result names the records that fail."""
        return KINDS[self.check].names

    @property
    def needs_value(self) -> bool:
        """Whether a result without an observed value is none."""
        kind = KINDS[self.check]
        return kind.value and not kind.names

    def read_columns(self) -> list[str]:
        """The columns that it reads."""
        return self.columns

    def gx_arguments(self) -> dict[str, Any]:
        """What Great Expectations' class takes."""
        return dict(self.arguments)


def read_checks(text: str, file: str) -> list[QualityCheck]:
    """The checks of a suite in Great Expectations' JSON; `file` names it in errors. Raises
    `ConfigError` that names the expectation and the field.
    """
    suite = _model(_Suite, _json(text, file), file)
    return [
        _check(expectation, number, f"{file}: expectation {number}")
        for number, expectation in enumerate(suite.expectations, 1)
    ]


def _json(text: str, file: str) -> Json:
    refuse_deceiving(text, file)
    try:
        value = canonical.loads(text.encode(), where=file)
    except CountersignError as error:
        raise ConfigError(error.found, where=file, expected="JSON") from None
    if isinstance(value, dict) and "expectation_suite_name" in value:
        fix = "load it in Great Expectations 1.x and write it again"
        raise ConfigError("the format of Great Expectations before 1.0", where=file, fix=fix)
    return value


def _model(model: type[M], value: Json, where: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(str(part) for part in detail["loc"])
        found = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            found, known = "unknown field", ", ".join(model.model_fields)
            raise ConfigError(found, where=f"{where}: {field}", expected=known) from None
        raise ConfigError(found, where=f"{where}: {field}" if field else where) from None


def _check(value: dict[str, Json], number: int, where: str) -> GxCheck:
    if value.get("rendered_content"):
        fix = "delete it, or write the suite without rendering it"
        raise ConfigError(
            "a rendering, which may differ from what it renders",
            where=f"{where}: rendered_content",
            fix=fix,
        )
    unset = {"rendered_content", "windows"} - {name for name in value if value[name]}
    read = _model(
        _Expectation, {name: field for name, field in value.items() if name not in unset}, where
    )
    kind = _kind_of(read.type, where)
    given = {name: field for name, field in read.kwargs.items() if field is not None}
    _arguments(given, kind, where)
    ours = _model(_Ours, (read.meta or {}).get("countersign", {}), f"{where}: meta.countersign")
    action = ours.action or ("block" if read.severity == "critical" else "report")
    if (action == "report") == (read.severity == "critical"):
        expected = "action report with severity warning or info; block or drop with critical"
        raise ConfigError(
            f"action {action} with severity {read.severity}", where=where, expected=expected
        )
    columns = list(dict.fromkeys(_columns(given, where)))
    check = {
        "name": ours.name or f"gx-{number}",
        "check": read.type,
        "column": ", ".join(columns) or TABLE,
        "columns": columns,
        "arguments": given,
        "mostly": given.get("mostly"),
        "severity": "critical" if read.severity == "critical" else "warning",
        "action": action,
        "reason": ours.reason,
    }
    return _model(GxCheck, check, where)


def _kind_of(name: str, where: str) -> Kind:
    if name in REFUSED:
        raise ConfigError(f"{name} cannot be used: {REFUSED[name]}", where=f"{where}: type")
    if name not in KINDS:
        found = f"{name!r} is no expectation of Great Expectations' core"
        raise ConfigError(found, where=f"{where}: type", fix=did_you_mean(name, KINDS))
    return KINDS[name]


def _arguments(given: dict[str, Json], kind: Kind, where: str) -> None:
    """Raises `ConfigError` for arguments that are missing, unknown, or set elsewhere."""
    for name in given:
        if name not in kind.arguments:
            expected = ", ".join(sorted(kind.arguments))
            raise ConfigError("unknown", where=f"{where}: kwargs.{name}", expected=expected)
        if _has_parameter(given[name]):
            found = "a parameter of the suite, for which there is no value here"
            raise ConfigError(found, where=f"{where}: kwargs.{name}", expected="the value itself")
    for name in sorted(kind.needs - given.keys()):
        raise ConfigError("missing", where=f"{where}: kwargs.{name}")
    bounds = {"min_value", "max_value"}
    if bounds <= kind.takes and "threshold" not in kind.needs and not bounds & given.keys():
        raise ConfigError("it demands nothing", where=f"{where}: kwargs", expected="a bound")


def _has_parameter(value: Json) -> bool:
    if isinstance(value, dict):
        return "$PARAMETER" in value or any(_has_parameter(each) for each in value.values())
    return isinstance(value, list) and any(_has_parameter(each) for each in value)


# --- columns --------------------------------------------------------------------------------------


def _columns(given: dict[str, Json], where: str) -> Iterator[str]:
    for name in ("column", "column_A", "column_B"):
        if name in given:
            yield _text(given[name], f"{where}: kwargs.{name}")
    for name in ("column_list", "column_set"):
        if name in given:
            yield from _texts(given[name], f"{where}: kwargs.{name}")
    if "row_condition" in given:
        yield from _of_condition(given["row_condition"], f"{where}: kwargs.row_condition")


class _Named(Model):
    name: str


class _Comparison(Model):
    type: Literal["comparison"]
    column: _Named
    operator: Literal["==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN"]
    parameter: bool | int | float | list[int | float]


class _Nullity(Model):
    type: Literal["nullity"]
    column: _Named
    is_null: bool


class _Several(Model):
    type: Literal["and", "or"]
    conditions: list[dict[str, Json]] = Field(min_length=1)


def _of_condition(value: Json, where: str) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("type") == "pass_through":
        fix = 'write it with great_expectations.expectations.row_conditions.Column("messages") > 2'
        raise ConfigError("text, which pandas would evaluate as code", where=where, fix=fix)
    if value.get("type") in ("and", "or"):
        for number, each in enumerate(_model(_Several, value, where).conditions, 1):
            yield from _of_condition(each, f"{where}: condition {number}")
    elif value.get("type") == "nullity":
        yield _model(_Nullity, value, where).column.name
    else:
        yield _model(_Comparison, value, where).column.name


def _text(value: Json, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{value!r}", where=where, expected="the name of a column")
    return value


def _texts(value: Json, where: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{value!r}", where=where, expected="names of columns")
    return [_text(each, where) for each in value]


# --- the file -------------------------------------------------------------------------------------


def with_file(own: list[QualityCheck], text: str, file: str) -> list[QualityCheck]:
    """A suite's own checks and those of the file that it names. Raises `ConfigError`."""
    checks = [*own, *read_checks(text, file)]
    names = [check.name for check in checks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"expectation named twice: {', '.join(twice)}", where=file)
    if all(check.action == "report" for check in checks):
        raise ConfigError("nothing in this suite can refuse or leave out anything", where=file)
    return checks
