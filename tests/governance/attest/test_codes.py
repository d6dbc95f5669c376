"""The table of finding codes is read whole, and an entry that is none is refused."""

from __future__ import annotations

import pytest

from governance.attest.codes import CODES, NEVER_WAIVED, read_table

ENTRY = "NEW_CODE (never waived, information): A title\n  What it\n  means.\n  > do\n  this"


def test_an_entry_has_title_meaning_next_step_and_flags() -> None:
    ((code, entry),) = read_table(f"# A section\n\n{ENTRY}")
    assert (code, entry.section, entry.title) == ("NEW_CODE", "A section", "A title")
    assert (entry.meaning, entry.next) == ("What it means.", "do this")
    assert (entry.blocking, entry.waivable) == (False, False)


@pytest.mark.parametrize("spoiled", [ENTRY.replace("  > do\n  this", ""), ENTRY.lower(), "CODE"])
def test_what_is_no_entry_is_refused(spoiled: str) -> None:
    with pytest.raises(ValueError, match="not an entry"):
        list(read_table(spoiled))


def test_every_code_explains_itself() -> None:
    assert len(CODES) >= 109 and CODES.keys() >= NEVER_WAIVED
    for code, entry in CODES.items():
        assert entry.title and entry.meaning and entry.next and entry.section, code
        assert entry.waivable is (code not in NEVER_WAIVED)
