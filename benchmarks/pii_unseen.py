"""What the PII scan finds in made-up text that its recognizers were not written for, and of
disguised values.

    python -m benchmarks.pii_unseen

The sentences of `pii_unseen.yaml` and the shapes below were written before the recognizers. All of
it is ours, so the figures are weaker evidence than those of the public sets.

Removed: nine tenths of a value's letters and digits are in findings that policy does not allow to
stay. Precision: the share of such findings that overlap a planted value.
"""

from __future__ import annotations

import base64
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from benchmarks.pii_recall import COVERED, Label
from governance.base.yaml import load_model, read_yaml
from governance.policy.data import PiiPolicy
from pipelines.pii.engine import PlainEngine, Span
from pipelines.pii.search import Search

FILE = Path(__file__).with_name("pii_unseen.yaml")
TIMES = 12
"""How often each sentence is filled with other values."""

CLEAN = "clean"
"""The section of sentences without personal data."""

# --- values ---------------------------------------------------------------------------------------

FORMS: dict[str, tuple[str, ...]] = {
    "MEDICAL_RECORD_NUMBER": ("#######", "##-##-##", "MR######", "A###-####", "0000######"),
    "PATIENT_NUMBER": ("P-######", "########", "PT#####", "###-###-###"),
    "PRESCRIBER_NUMBER": ("1#########", "BX#######"),
    "INSURANCE_NUMBER": ("XYZ#########", "A#########", "#########", "1EG4-TE5-MK##", "W## ####-##"),
    "CLAIM_NUMBER": ("CLM-####-#####", "########", "##-#######-A", "C##########"),
    "POLICY_NUMBER": ("POL-#######", "AB########", "## ### ####", "HO-######-##"),
    "DOCKET_NUMBER": ("##-cv-#####", "##-CR-####-ABC", "#:##-cv-#####", "######/20##"),
    "CASE_NUMBER": ("#:2#-cv-0####-JPO", "##CV####", "#####/0#", "D-1-GN-2#-00####", "## O ###/1#"),
    "BAR_NUMBER": ("######", "24######", "########"),
    "EMPLOYEE_NUMBER": ("E#####", "######", "EMP-####", "###-####"),
    "LICENSE_NUMBER": ("MD#####", "A######", "##-#####"),
    "ACCOUNT_NUMBER": ("##########", "####-######", "AC#######", "### ### ####"),
    "TAX_NUMBER": ("##-#######", "##########", "##/###/#####", "## ### ### ###"),
    "STUDENT_NUMBER": ("#######", "S########", "20######"),
    "LICENSE_PLATE": ("7ABC###", "ABC-####", "B-MK ####", "AB-###-CD", "#### BCD"),
    "PASSPORT_NUMBER": ("C0#######", "#########", "AA#######", "##AB#####"),
    "NATIONAL_ID": ("########Z", "QQ ## ## ## C", "1 85 05 78 006 084 36", "########-T"),
    "US_DRIVER_LICENSE": ("D#######", "S###-###-###", "########"),
}
"""`#` is a digit; what else is in it stands for itself."""

STREETS = (
    "{n} Larkspur Lane, Apt 4B, Dayton, OH 45402",
    "{n} N. Kessler Blvd",
    "{n} West 83rd Street, Suite 210",
    "P.O. Box {n}, Tulsa, OK 74101",
    "{n} Hornbeam Close, Leeds LS6 2AB",
    "Flat 3, {n} Abbotsford Road, Bristol BS8 1TH",
    "Lindenallee {n}, 50968 Köln",
    "{n} rue des Tanneurs, 37000 Tours",
    "Calle de Serrano {n}, 28001 Madrid",
    "{n} Old Mill Ct.",
)
BIRTHS = (
    "04/17/1962",
    "1971-11-02",
    "3 March 1958",
    "September 21, 1983",
    "12.08.1949",
    "1967",
    "5/9/77",
    "14th of June 1990",
    "Jan 5, 2001",
)
LOCAL_BIRTHS = {
    "de": ("12.08.1949", "3. März 1958", "7.1.1990"),
    "es": ("12/08/1949", "3 de marzo de 1958", "7-1-1990"),
    "fr": ("12/08/1949", "3 mars 1958", "1er janvier 1990"),
}


def value(kind: str, section: str, rng: random.Random) -> str:
    """A made-up value of a kind, of the shapes of a section's language."""
    if kind == "STREET_ADDRESS":
        return rng.choice(STREETS).format(n=rng.randint(2, 9800))
    if kind == "DATE_OF_BIRTH":
        return rng.choice(LOCAL_BIRTHS.get(section, BIRTHS))
    form = rng.choice(FORMS[kind])
    return "".join(rng.choice("123456789") if char == "#" else char for char in form)


def filled(section: str, rng: random.Random) -> Iterator[tuple[str, list[Label]]]:
    """Each sentence of a section with values, and where they are."""
    for sentence in read_yaml(FILE)[section]:
        pieces, labels, length = [], [], 0
        for at, piece in enumerate(re.split(r"\{([A-Z_]+)\}", sentence)):
            text = value(piece, section, rng) if at % 2 else piece
            if at % 2:
                labels.append(Label(length, length + len(text), piece))
            pieces.append(text)
            length += len(text)
        yield "".join(pieces), labels


# --- disguises ------------------------------------------------------------------------------------

PLAIN = (
    ("write to {}", "mario.rossi{n}@example.com"),
    ("my card is {}", "4111 1111 1111 1111"),
    ("my SSN is {}", "536-22-12{n}"),
    ("call me at {}", "+1 415 555 26{n}"),
    ("medical record number {}", "48213{n}"),
    ("server {}", "203.0.113.{n}"),
)
"""A sentence and a value, found as they are; {n} is a number of two digits."""


def _each(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(map(change, text))


def _wide(char: str) -> str:
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char


def _mathematical(char: str) -> str:
    return chr(0x1D7CE + int(char)) if char.isdigit() else char


def _words(text: str) -> str:
    return text.replace("@", " at ").replace(".", " dot ") if "@" in text else text


def _spaced(text: str) -> str:
    return " ".join(re.sub(r"[\s-]", "", text)) if re.fullmatch(r"[\d\s+-]+", text) else text


def _dashed(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    return (
        "-".join(digits[at : at + 2] for at in range(0, len(digits), 2))
        if "@" not in text
        else text
    )


DISGUISES: dict[str, Callable[[str], str]] = {
    "zero-width characters": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: "\u00ad".join(text),
    "full-width": _each(_wide),
    "mathematical digits": _each(_mathematical),
    "Cyrillic letters": lambda text: text.translate(str.maketrans("aeo", "аео")),
    "letters for digits": lambda text: text if "@" in text else text.replace("1", "l"),
    "HTML entities": _each(lambda char: f"&#{ord(char)};"),
    "hexadecimal HTML entities": _each(lambda char: f"&#x{ord(char):x};"),
    "percent-encoding": _each(lambda char: f"%{ord(char):02X}"),
    "query string": lambda text: quote(text, safe=""),
    "JSON escapes": _each(lambda char: f"\\u{ord(char):04x}"),
    "at and dot": _words,
    "bracketed at and dot": lambda text: text.replace("@", " [at] ").replace(".", "[dot]"),
    "spaced digits": _spaced,
    "dashed digits": _dashed,
    "base64": lambda text: base64.b64encode(f"contact: {text}".encode()).decode(),
    "Markdown link": lambda text: quote(text),
    "Markdown emphasis": lambda text: f"**{text[:4]}**{text[4:]}",
    "line break": lambda text: text[:7] + "\n" + text[7:],
    "code": str,
    "tool-call arguments": str,
    "spaces around signs": lambda text: re.sub(r"([@.-])", r" \1 ", text),
}
"""Name to the function that disguises a value. Some leave some values as they are."""

AROUND = {
    "query string": ("https://shop.example/?q=", "&page=2"),
    "Markdown link": ("[here](mailto:", ")"),
    "code": ('x = "', '"'),
    "tool-call arguments": ('{"arguments": "{\\"to\\": \\"', '\\"}"}'),
}
"""What stands around a value of some disguises."""


def disguised(name: str) -> Iterator[tuple[str, list[Label]]]:
    """Every plain value in one disguise, and where it is."""
    for at, (sentence, form) in enumerate(PLAIN):
        hidden = DISGUISES[name](form.replace("{n}", str(17 + at)))
        head, tail = sentence.split("{}")
        before, after = AROUND.get(name, ("", ""))
        start = len(head) + len(before) + 6
        yield (
            f"Hello {head}{before}{hidden}{after}{tail}, please.",
            [Label(start, start + len(hidden), name)],
        )


# --- figures --------------------------------------------------------------------------------------


def removed(text: str, label: Label, spans: list[Span]) -> bool:
    """Whether the findings cover the value."""
    gone = {at for span in spans for at in range(span.start, span.end)}
    plain = [at in gone for at in range(label.start, label.end) if text[at].isalnum()]
    return sum(plain) >= COVERED * len(plain)


def _rows(
    search: Search, policy: PiiPolicy, rows: list[tuple[str, list[Label]]]
) -> Iterator[tuple[str, list[Label], list[Span]]]:
    for (text, labels), found in zip(rows, search.find([text for text, _ in rows]), strict=True):
        spans = [one for one in found.spans if policy.entity(one.entity).action != "allow"]
        yield text, labels, spans


def unseen(search: Search, policy: PiiPolicy) -> str:
    """Markdown: section and kind to what is removed."""
    lines = ["| text | kind | values | removed |", "|---|---|---:|---:|"]
    wrong = findings = 0
    for section in read_yaml(FILE):
        rng = random.Random(f"unseen 1 {section}")  # noqa: S311 - nothing secret is made of it
        times = 1 if section == CLEAN else TIMES
        rows = [row for _ in range(times) for row in filled(section, rng)]
        counts, hits = Counter[str](), Counter[str]()
        for text, labels, spans in _rows(search, policy, rows):
            for label in labels:
                counts[label.entity] += 1
                hits[label.entity] += removed(text, label, spans)
            findings += len(spans)
            wrong += sum(
                not any(one.start < label.end and label.start < one.end for label in labels)
                for one in spans
            )
        for group, kinds in _groups(counts).items():
            count, gone = sum(counts[k] for k in kinds), sum(hits[k] for k in kinds)
            lines.append(f"| {section} | {group} | {count} | {gone / count:.2f} |")
    return "\n".join([*lines, "", f"Precision: {1 - wrong / findings:.3f} of {findings} findings."])


def disguises(search: Search, policy: PiiPolicy) -> str:
    """Markdown: disguise to how many of the values are removed."""
    lines = ["| disguise | values | removed |", "|---|---:|---:|"]
    gone = count = 0
    for name in DISGUISES:
        hits = [removed(*row) for row in _flat(search, policy, list(disguised(name)))]
        gone, count = gone + sum(hits), count + len(hits)
        lines.append(f"| {name} | {len(hits)} | {sum(hits)} |")
    return "\n".join([*lines, f"| all | {count} | {gone} ({gone / count:.2f}) |"])


def _flat(
    search: Search, policy: PiiPolicy, rows: list[tuple[str, list[Label]]]
) -> Iterator[tuple[str, Label, list[Span]]]:
    for text, labels, spans in _rows(search, policy, rows):
        for label in labels:
            yield text, label, spans


def _groups(counts: Counter[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    own = {"DATE_OF_BIRTH": "birth dates", "STREET_ADDRESS": "street addresses"}
    for kind in sorted(counts):
        groups.setdefault(own.get(kind, "identifiers"), []).append(kind)
    return groups


def main() -> None:
    """Prints the tables."""
    policy = load_model(Path("policies/pii.yaml"), PiiPolicy)
    with Search(PlainEngine(policy, Path.cwd()), None, b"") as search:
        print(unseen(search, policy))
        print()
        print(disguises(search, policy))


if __name__ == "__main__":
    main()
