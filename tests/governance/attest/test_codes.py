"""The table of finding codes is read whole, and an entry that is none is refused."""

from __future__ import annotations

import pytest

from governance.attest.codes import CODES, NEVER_WAIVED, read_table
from governance.attest.findings import finding, same_reasons

ENTRY = "NEW_CODE (never waived, information): it is\n  wrong\n  > do {name} as\n  {model}"
SECTION = "# A section (information)\n  > the general step\nOTHER_CODE: it is other\n"


def test_an_entry_has_a_sentence_a_step_and_flags() -> None:
    ((code, entry),) = read_table(f"# A section\n\n{ENTRY}")
    assert (code, entry.section, entry.title) == ("NEW_CODE", "A section", "It is wrong")
    assert (entry.sentence, entry.next) == ("it is wrong", "do NAME as MODEL")
    assert (entry.blocking, entry.waivable) == (False, False)


def test_a_section_gives_its_flags_and_its_step() -> None:
    (_, other), (_, new) = read_table(SECTION + ENTRY.replace("information", "never waived"))
    assert (other.blocking, other.waivable, other.next) == (False, True, "the general step")
    assert (new.blocking, new.waivable) == (False, False)
    ((_, plain),) = read_table("# A section\nPLAIN_CODE: it is plain\n  > do it")
    assert (plain.blocking, plain.waivable) == (True, True)


@pytest.mark.parametrize(
    "spoiled",
    [ENTRY[: ENTRY.index("  >")], ENTRY.lower(), "CODE", f"# A section\n{ENTRY}\nCODE: x"],
)
def test_what_is_no_entry_is_refused(spoiled: str) -> None:
    with pytest.raises(ValueError, match="not an entry"):
        list(read_table(spoiled))


def test_every_code_explains_itself() -> None:
    assert len(CODES) >= 109 and CODES.keys() >= NEVER_WAIVED
    for code, entry in CODES.items():
        assert entry.sentence and entry.next and entry.section, code
        assert entry.waivable is (code not in NEVER_WAIVED)


def test_a_finding_takes_sentence_and_step_from_the_table() -> None:
    table = finding("SCAN_NOT_PASSED", "dataset faq")
    assert table.message == CODES["SCAN_NOT_PASSED"].sentence
    assert table.next.startswith("read reports/scan_pii/faq/report.md")
    own = finding("SCAN_NOT_PASSED", "dataset faq", "another sentence", next="another step")
    assert (own.message, own.next) == ("another sentence", "another step")
    pinned = finding("SUITE_UNPINNED", "suite desk", digest="ab")
    assert pinned.next == "policies/evaluation.yaml: suites.desk.digest: ab"


def test_reasons_are_the_same_if_neither_side_has_one_more() -> None:
    scan = finding("SCAN_NOT_PASSED", "dataset faq")
    reworded = finding("SCAN_NOT_PASSED", "dataset faq", "another sentence")
    other = finding("SCAN_NOT_PASSED", "dataset desk")
    assert same_reasons([], []) and same_reasons([scan, other], [other, reworded])
    assert not same_reasons([scan], [scan, other]) and not same_reasons([scan, other], [scan])
    assert not same_reasons([scan], []) and not same_reasons([], [scan])
