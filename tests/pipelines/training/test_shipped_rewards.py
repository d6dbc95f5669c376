"""Shipped reward functions that take columns of the record: what they score, and that code under
test cannot do what it must not. `code_tests` is no sandbox: the rows are what it does stop.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from governance.base.errors import TrainingError
from pipelines.training import rewards

FORM = {
    "type": "object",
    "properties": {"team": {"enum": ["billing", "repair"]}, "days": {"type": "integer"}},
    "required": ["team"],
    "additionalProperties": False,
}
SOURCES = ["The router restarts at night.", "Billing is on Monday."]

SCORES: list[tuple[str, str, dict[str, Any], float]] = [
    # function, answer, options and columns, score
    ("brevity", "a b c", {"most": 4}, 1.0),
    ("brevity", "a b c d e f", {"most": 4}, 0.5),
    ("brevity", "a b c d e f g h", {"most": 4}, 0.0),
    ("brevity", " ", {}, 0.0),
    ("json_format", '{"a": 1}', {}, 1.0),
    ("json_format", '```json\n{"a": 1}\n```', {}, 0.0),
    ("json_format", '{"a": 1, "a": 2}', {}, 0.0),
    ("json_format", '{"a": NaN}', {}, 0.0),
    ("json_format", "[" * 100_000, {}, 0.0),
    ("json_format", '{"team": "billing", "days": 3}', {"schema": FORM}, 1.0),
    ("json_format", '{"team": "billing"}', {"schema": json.dumps(FORM)}, 1.0),
    ("json_format", '{"team": "sales"}', {"schema": FORM}, 0.0),
    ("json_format", '{"days": 3}', {"schema": FORM}, 0.0),
    ("json_format", '{"team": "repair", "days": true}', {"schema": FORM}, 0.0),
    ("json_format", '{"team": "repair", "more": 1}', {"schema": FORM}, 0.0),
    ("citation", "It restarts [1]. Pay on Monday [2].", {"sources": SOURCES}, 1.0),
    ("citation", "It restarts [1]. Pay on Monday [3].", {"sources": 2}, 0.5),
    ("citation", "It restarts.", {"sources": SOURCES}, 0.0),
    ("citation", "[1] [2]", {"sources": SOURCES}, 0.0),
    ("citation", "The router restarts [1].", {"sources": SOURCES, "quoted": True}, 1.0),
    ("citation", "The router restarts [2].", {"sources": SOURCES, "quoted": True}, 0.0),
]


@pytest.mark.parametrize(("name", "text", "more", "score"), SCORES)
def test_scores(name: str, text: str, more: dict[str, Any], score: float) -> None:
    assert rewards.for_trainer(name, more)([], [text]) == [score]


def test_a_schema_that_would_be_checked_in_part_is_refused() -> None:
    with pytest.raises(TrainingError, match="'json_format' raised ValueError"):
        rewards.for_trainer("json_format", {"schema": {"pattern": "^a"}})([], ["1"])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "bb", 1.0, 2.5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "integer", "number", "string", "null"]),
            "enum": st.lists(VALUES, min_size=1, max_size=2),
            "minimum": st.integers(-2, 2),
            "maxLength": st.integers(0, 1),
            "minItems": st.integers(0, 1),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "additionalProperties": st.booleans(),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"properties": st.dictionaries(st.sampled_from("ab"), inner), "items": inner}
    ),
    max_leaves=3,
)


@given(VALUES, SCHEMAS)
def test_json_schema_means_what_jsonschema_says(value: Any, schema: Any) -> None:
    found = rewards.find("json_format")(json.dumps(value), None, schema=schema)
    assert found == float(Draft202012Validator(schema).is_valid(value))


# --- code -----------------------------------------------------------------------------------------

ADD = "def add(a, b):\n    return a + b\n"
TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n"
PROGRAMS: list[tuple[str, dict[str, Any], float]] = [
    (ADD, {"tests": TESTS}, 1.0),
    (f"It adds:\n```python\n{ADD}```\nDone.", {"tests": TESTS}, 1.0),
    ("import collections, dataclasses, re, typing\n" + ADD, {"tests": TESTS}, 1.0),
    (ADD, {"tests": CHECK, "entry_point": "add"}, 1.0),
    ("def add(a, b):\n    return 3\n", {"tests": CHECK, "entry_point": "add"}, 1.0),
    ("def add(a, b):\n    return 3\n", {"tests": TESTS}, 0.0),
    ("def add(a, b:", {"tests": TESTS}, 0.0),
    ("", {"tests": TESTS}, 0.0),
    (ADD, {"tests": None}, 0.0),
    (ADD, {"tests": CHECK, "entry_point": "other"}, 0.0),
]


@pytest.mark.parametrize(("text", "more", "score"), PROGRAMS)
def test_a_program_is_scored_by_its_tests(text: str, more: dict[str, Any], score: float) -> None:
    assert rewards.find("code_tests")(text, None, **more) == score


HOSTILE = {
    "runs for ever": "while True: pass",
    "sleeps": "import time\ntime.sleep(60)",
    "takes memory": "x = bytearray(10 ** 10)",
    "forks": "import os\nos.fork()",
    "starts a program": "import subprocess\nsubprocess.run(['true'])",
    "starts a program by os": "import os\nos.system('true')",
    "starts a process": "import multiprocessing\nmultiprocessing.Process(target=print).start()",
    "opens a socket": "import socket\nsocket.socket()",
    "reads a file outside": "open('/etc/passwd').read()",
    "writes a file outside": "open('{outside}', 'w').write('x')",
    "writes a large file": "import os\nopen('x', 'wb').write(b'x' * 10 ** 7)",
    "removes a file outside": "import os\nos.remove('{outside}')",
    "lists a folder outside": "import os\nos.listdir('/proc/self/fd')",
    "ends its parent": "import os\nos.kill(os.getppid(), 9)",
    "loads C": "import ctypes",
    "exits early with 0": "import sys\nsys.exit(0)",
    "exits at once with 0": "import os\nos._exit(0)",
    "writes to every file that is open": (
        "import os\nfor at in range(3, 32):\n    try: os.write(at, b'0' * 32)\n"
        "    except OSError: pass\nos._exit(0)"
    ),
    "looks at the frames below": "import sys\nsys._getframe(1).f_locals",
    "looks at the frames of an error": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    error.__traceback__.tb_frame"
    ),
    "looks at all objects": "import gc\ngc.get_objects()",
    "prints success and exits": "print('passed')\nraise SystemExit(0)",
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_code_scores_nothing_and_reaches_nothing(attack: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("before", encoding="utf-8")
    program = HOSTILE[attack].replace("{outside}", str(outside)) + f"\n{ADD}"
    began = time.monotonic()
    assert rewards.find("code_tests")(program, None, tests=TESTS, seconds=2) == 0.0
    assert time.monotonic() - began < 30, "the limit of time holds"
    assert outside.read_text(encoding="utf-8") == "before"
