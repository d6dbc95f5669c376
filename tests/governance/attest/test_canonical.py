"""JSON that is signed has one form and one reading."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest import canonical
from governance.base.errors import VerificationError

REFUSED = {
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key, deep": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "duplicate key by escape": b'{"a":1,"\\u0061":2}',
    "NaN": b"[NaN]",
    "infinity": b"[-Infinity]",
    "a double too large": b"[1e999]",
    "2**53": b"[9007199254740992]",
    "2**53 + 1": b"[9007199254740993]",
    "-2**53 - 1": b"[-9007199254740993]",
    "5000 digits": b"[" + b"9" * 5000 + b"]",
    "2**53 as a float": b"[9007199254740992.0]",
    "lone surrogate": b'["\\ud800"]',
    "lone surrogate in a key": b'{"\\udc00":1}',
    "surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "not UTF-8": b'["\xff"]',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "65 levels": b"[" * 65 + b"]" * 65,
    "a million levels": b"[" * 1_000_000,
    "control character in text": b'["a\nb"]',
    "single quotes": b"{'a':1}",
    "trailing comma": b"[1,]",
    "two values": b"1 2",
    "nothing": b"",
    "leading zero": b"[01]",
    "comment": b"[1] // one",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError) as error:
        canonical.loads(data, where="entry 7")
    assert str(error.value).startswith("entry 7: ")


def test_an_error_does_not_quote_the_text() -> None:
    with pytest.raises(VerificationError) as error:
        canonical.loads(b'{"secret person":1,"secret person":2}')
    assert "secret" not in str(error.value)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MAX_BYTES", 10)
    assert canonical.loads(b'"12345678"') == "12345678"
    with pytest.raises(VerificationError, match="too large"):
        canonical.loads(b'"123456789"')
    with pytest.raises(VerificationError, match="too large"):
        canonical.dumps("123456789")


def test_64_levels_are_read() -> None:
    assert canonical.loads(b"[" * 64 + b"]" * 64) is not None


# RFC 8785, 3.2.2 to 3.2.4 and appendix B
FORMS: list[tuple[Any, bytes]] = [
    (
        {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\u00f6": 7},
        '{"\\r":2,"1":4,"\x80":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'.encode(),
    ),
    ([333333333.33333329, 1e30, 4.50, 2e-3, 1e-27], b"[333333333.3333333,1e+30,4.5,0.002,1e-27]"),
    (
        [0.0, -0.0, 5e-324, 1.7976931348623157e308, 1e21, 9007199254740991],
        b"[0,0,5e-324,1.7976931348623157e+308,1e+21,9007199254740991]",
    ),
    ('€$\x0f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()),
    ([None, True, False, [], {}], b"[null,true,false,[],{}]"),
]


@pytest.mark.parametrize(("value", "form"), FORMS)
def test_the_form_is_that_of_rfc_8785(value: Any, form: bytes) -> None:
    assert canonical.dumps(value) == form
    assert canonical.loads(form) == value


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        2**53,
        float(2**53),
        -1e20,
        {1: 2},
        "\ud800",
        {"\ud800": 1},
        b"bytes",
        {1, 2},
        [object()],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_read_back_is_not_written(value: Any) -> None:
    with pytest.raises(VerificationError):
        canonical.dumps([value])


def test_what_is_nested_without_end_is_not_written() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(VerificationError, match="nested deeper than 64 levels"):
        canonical.dumps(value)


def test_the_value_that_cannot_be_written_is_named() -> None:
    with pytest.raises(VerificationError, match=r"value\.predicate\.final\.1\.loss: .*nan"):
        canonical.dumps({"a": 1, "predicate": {"final": [1.0, {"loss": math.nan}]}})


def test_a_figure_is_a_number_that_can_be_signed_or_none() -> None:
    measured = [0.5, 3, None, math.nan, math.inf, -math.inf, 1e17, 2**53 - 1, 2**53]
    assert [canonical.figure(value) for value in measured] == [
        0.5,
        3,
        None,
        None,
        None,
        None,
        None,
        2**53 - 1,
        None,
    ]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not 2**53 <= abs(x) < 1e21),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.slow
@given(json_values)
def test_what_is_written_reads_back_the_same_and_in_one_form(value: Any) -> None:
    data = canonical.dumps(value)
    assert canonical.loads(data) == value
    assert canonical.dumps(canonical.loads(data)) == data
    assert canonical.dumps(json.loads(json.dumps(value))) == data


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(data: bytes) -> None:
    with contextlib.suppress(VerificationError):
        canonical.dumps(canonical.loads(data))


def _loose(value: Any, style: int) -> bytes:
    """JSON that other writers make of a value: canonical now and then."""
    spaces = (", ", ": ") if style & 1 else (",", ":")
    return json.dumps(
        value, sort_keys=bool(style & 2), ensure_ascii=bool(style & 4), separators=spaces
    ).encode()


def _strictly(data: bytes) -> Any:
    """As `canonical.loads` without its quick way."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(canonical, "_quick", lambda data, **_: None)
        return canonical.loads(data)


@given(json_values, st.integers(0, 8), st.integers(0, 200), st.binary(max_size=2))
def test_the_quick_reader_believes_only_what_the_strict_one_reads_the_same(
    value: Any, style: int, at: int, put: bytes
) -> None:
    data = canonical.dumps([value]) if style == 8 else _loose([value], style)
    for found in (data, data[:at] + put + data[at:], data[:at] + put + data[at + len(put) :]):
        quick = canonical._quick(found)
        if quick is not None:
            strict = _strictly(found)
            assert repr(quick) == repr(strict)  # 1 is not 1.0
            assert canonical.dumps(strict) == found


SURE = [b'{"a":1}', b"[0.5,-1,null,true]", '{"ä":"\\n\\"\\\\\\u0001\x7f é"}'.encode(), b"[]"]
SURE += [b"[" + b"{}," * 100 + b"{}]", b"[" * 64 + b"]" * 64, b'["' + b"[{" * 100 + b'"]']
UNSURE = [
    b"[1.0]",
    b"[-0.0]",
    b"[1e5]",
    b"[1234567890123456]",
    b"[1.5e-7]",
    b"[-0]",
    b"[1e-7]",
    b"1",
    b'"x"',
    b"[" * 65 + b"]" * 65,
    b'{"a":' * 65 + b"[]" + b"}" * 65,
]


def test_the_quick_reader_is_used_where_it_can_be_and_only_there() -> None:
    assert [canonical._quick(data) is None for data in SURE] == [False] * len(SURE)
    assert [canonical._quick(data) for data in UNSURE] == [None] * len(UNSURE)


@given(json_values, st.integers(0, 7))
def test_what_was_read_is_written_as_it_always_is(value: Any, style: int) -> None:
    read = canonical.loads(_loose([value], style))
    assert canonical.dumps_read(read) == canonical.dumps(read)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(canonical, "_quick", lambda data, **_: None)
        if canonical.dumps(read) != _loose([value], style):
            with pytest.raises(VerificationError, match="not in canonical form"):
                canonical.loads_canonical(_loose([value], style))


@pytest.mark.parametrize("lead", ["\U00010000", "\U00040000", "\U00100000"])
def test_keys_are_ordered_by_utf_16_units(lead: str) -> None:
    """RFC 8785, 3.2.3: a character beyond the basic plane comes before U+FFFF. Its UTF-8 form
    begins with F0, F1 or F4.
    """
    value = {"\uffff": True, lead: True}
    written = f'{{"{lead}":true,"\uffff":true}}'.encode()
    assert canonical.dumps(value) == canonical.dumps_read(value) == written
    assert canonical.loads_canonical(written) == value
    with pytest.raises(VerificationError, match="not in canonical form"):
        canonical.loads_canonical(f'{{"\uffff":true,"{lead}":true}}'.encode())


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (float(2**53 - 1), b"9007199254740991"),
        (-float(2**53 - 1), b"-9007199254740991"),
        (1e21, b"1e+21"),
        (2**53, None),
        (float(2**53), None),
        (-float(2**53), None),
        (999999999999999868928.0, None),
    ],
)
def test_the_largest_number_that_every_reader_keeps(number: float, written: bytes | None) -> None:
    """RFC 7493, 2.2: integers within 2**53 - 1. From 1e21 on, ECMAScript writes an exponent."""
    if written is not None:
        assert canonical.dumps(number) == written
        return
    with pytest.raises(VerificationError, match=r"beyond 2\*\*53|exceed"):
        canonical.dumps(number)


@pytest.mark.parametrize(
    ("data", "numbers", "known"),
    [
        (b'{"a":"b"}', True, True),
        (b'{"a":1.5}', True, True),
        (b'{"a":1e5}', True, False),
        (b'{"a": "b"}', True, False),
        (b'{"a":"b","a":"c"}', True, None),
        (b'{"a":"1234567890123456789"}', False, True),
    ],
)
def test_it_is_known_whether_bytes_are_canonical(
    data: bytes, numbers: bool, known: bool | None
) -> None:
    if known is None:
        with pytest.raises(VerificationError, match="twice"):
            canonical.loads_known(data, numbers=numbers)
        return
    assert canonical.loads_known(data, numbers=numbers) == (json.loads(data), known)
