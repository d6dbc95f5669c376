"""Made-up values of every kind of personal data that a scan can find, in the shapes that people
write.

The same languages, regions and kinds give the same values on every platform: only
`random.Random.random` is used. Domains, addresses and hosts are those reserved for documentation.
Numbers have the check digits of their kind, because no engine finds them without. `seeds.yaml` has
the sentences and its own names. To add a kind: a function in `SHAPES`, and its sentences.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from governance.attest import canonical, digests
from governance.base.yaml import read_yaml
from governance.policy.data import PiiPolicy
from pipelines.pii import labelled

FILE = Path(__file__).with_name("seeds.yaml")

EACH = 25
"""Values of each kind. If all are found, the 95% interval begins at 0.87."""

DIGITS, HEX, LETTERS = "0123456789", "0123456789abcdef", "ABCDEFGHJKLMNPQRSTUVWXYZ"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MIXED = DIGITS + BASE58

T = TypeVar("T")


@dataclass(frozen=True)
class Seed:
    """One made-up value and its sentence."""

    entity: str
    value: str
    sentence: str
    """With `{}` in the place of the value."""

    @property
    def text(self) -> str:
        """The sentence with the value."""
        return self.sentence.replace("{}", self.value)


@dataclass(frozen=True)
class Draw:
    """The random numbers and settings of one value."""

    at: int
    """Its number among the values of its kind. Shapes take turns by it."""
    rng: random.Random
    policy: PiiPolicy

    def turn(self, *options: T) -> T:
        """The options in turn."""
        return options[self.at % len(options)]

    def pick(self, *options: T) -> T:
        """Any of the options; the same on every Python version."""
        return options[int(self.rng.random() * len(options))]

    def some(self, n: int, of: str = DIGITS) -> str:
        """`n` characters."""
        return "".join(self.pick(*of) for _ in range(n))

    def shaped(self, form: str) -> str:
        """`form` with a digit for each `#`."""
        return "".join(self.some(1) if char == "#" else char for char in form)


def seeds(policy: PiiPolicy, entities: Sequence[str]) -> list[Seed]:
    """`EACH` values of every entity with a known shape, in the policy's languages in turn.

    An entity of the policy's own has its examples as values, without sentences.
    """
    planted = [seed for entity in entities if entity in SHAPES for seed in _made(policy, entity)]
    planted += [seed for entity in entities for seed in _labelled(policy, entity)]
    own = {known.entity: known.examples for known in policy.recognizers}
    for entity, examples in own.items():
        if entity not in SHAPES:
            planted += [Seed(entity, value, "{}") for value in dict.fromkeys(examples)]
    return planted


def _made(policy: PiiPolicy, entity: str) -> list[Seed]:
    sentences = _sentences(policy.known_languages, entity)
    if not sentences:
        return []
    # Nothing secret is made of it.
    rng = random.Random(f"countersign seeds 1 {entity}")  # noqa: S311
    values = [SHAPES[entity](Draw(at, rng, policy)) for at in range(EACH)]
    # Shapes and sentences take turns at different speeds, so that they meet in every combination.
    steps = [at + at // len(sentences) for at in range(EACH)]
    return [
        Seed(entity, value, sentences[at % len(sentences)])
        for value, at in zip(values, steps, strict=True)
    ]


def _labelled(policy: PiiPolicy, entity: str) -> list[Seed]:
    """`EACH` of the examples of `labelled.yaml` in turn, with other digits."""
    by_language = labelled.examples().get(entity, {})
    forms = [form for name in policy.known_languages for form in by_language.get(name, [])]
    rng = random.Random(f"countersign seeds 1 {entity}")  # noqa: S311 - nothing secret is made of it
    made = []
    for at in range(EACH if forms else 0):
        head, value, tail = re.split(r"[{}]", forms[at % len(forms)])
        made.append(Seed(entity, Draw(at, rng, policy).shaped(value), f"{head}{{}}{tail}"))
    return made


def digest(planted: Sequence[Seed]) -> str:
    """sha256 over the values and sentences: identifies the set that a recall was measured with."""
    return digests.sha256_bytes(canonical.dumps([list(astuple(seed)) for seed in planted]))


def _sentences(languages: Sequence[str], entity: str) -> list[str]:
    """The sentences of a kind in these languages. A language without sentences uses the bare value
    if that is possible.
    """
    known: dict[str, dict[str, list[str]]] = _words()["sentences"]
    bare = [text for text in known["en"].get(entity, []) if text == "{}"]
    sentences = [text for name in languages for text in known.get(name, {}).get(entity, bare)]
    return list(dict.fromkeys(sentences))


@cache
def _words() -> dict[str, Any]:
    words: dict[str, Any] = read_yaml(FILE)
    return words


# --- shapes ---------------------------------------------------------------------------------------


def _listed(entity: str) -> Callable[[Draw], str]:
    return lambda draw: str(draw.turn(*_words()[entity]))


def _api_key(draw: Draw) -> str:
    forms = (
        ("AKIA", 16, LETTERS),
        ("ghp_", 36, MIXED),
        ("AIza", 35, MIXED),
        ("hf_", 34, MIXED),
        ("sk-", 48, MIXED),
    )
    head, length, of = draw.turn(*forms)
    return head + draw.some(length, of)


def _card(draw: Draw) -> str:
    number = draw.turn("411111", "555555", "601111") + draw.some(9)
    number += next(d for d in DIGITS if _luhn(number + d))
    groups = [number[at : at + 4] for at in range(0, 16, 4)]
    return draw.turn(" ", "-", "", " ").join(groups)


def _luhn(number: str) -> bool:
    doubled = [int(d) * (2 if at % 2 else 1) for at, d in enumerate(reversed(number))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _crypto(draw: Draw) -> str:
    """A Bitcoin address: version, hash and checksum in base 58."""
    payload = bytes([draw.turn(0, 5)]) + bytes.fromhex(draw.some(40, HEX))
    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(whole, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = BASE58[rest] + text
    return "1" * (len(whole) - len(whole.lstrip(b"\0"))) + text


def _date(draw: Draw) -> str:
    year, month, day = (
        1940 + int(draw.rng.random() * 80),
        1 + int(draw.rng.random() * 12),
        1 + int(draw.rng.random() * 28),
    )
    name = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[
        month - 1
    ]
    return draw.turn(
        f"{month:02}/{day:02}/{year}",
        f"{year}-{month:02}-{day:02}",
        f"{day:02}.{month:02}.{year}",
        f"{day} {name} {year}",
        f"{name} {day}, {year}",
    )


def _mail(draw: Draw) -> str:
    first, last = (
        draw.pick("anna", "j", "maria", "tom", "wei"),
        draw.pick("weber", "okafor", "li", "smith", "garcia"),
    )
    user = draw.turn(
        f"{first}.{last}", f"{first}_{last}{draw.some(2)}", f"{first}+{last}", f"{first}-{last}"
    )
    host = draw.turn("example.com", "mail.example.org", "example.net")
    return draw.turn(str.lower, str.lower, str.title, str.upper)(f"{user}@{host}")


def _iban(draw: Draw) -> str:
    country, account = draw.turn(
        ("DE", "#" * 18), ("GB", "NWBK" + "#" * 14), ("NL", "ABNA" + "#" * 10), ("ES", "#" * 20)
    )
    account = draw.shaped(account)
    as_number = "".join(str(int(char, 36)) for char in f"{account}{country}00")
    whole = f"{country}{98 - int(as_number) % 97:02}{account}"
    return draw.pick(" ", "").join(whole[at : at + 4] for at in range(0, len(whole), 4))


def _ip(draw: Draw) -> str:
    last = 1 + int(draw.rng.random() * 254)
    return draw.turn(
        f"192.0.2.{last}", f"198.51.100.{last}", f"203.0.113.{last}", f"2001:db8::{last:x}"
    )


def _mac(draw: Draw) -> str:
    pairs = [draw.some(2, HEX) for _ in range(6)]
    colons, dashes = ":".join(pairs), "-".join(pairs).upper()
    return draw.turn(colons, dashes, ".".join("".join(pairs[at : at + 2]) for at in (0, 2, 4)))


def _dea(draw: Draw) -> str:
    digits = [int(d) for d in draw.some(6)]
    check = (sum(digits[0::2]) + 2 * sum(digits[1::2])) % 10
    return draw.some(1, "ABFM") + draw.some(1, LETTERS) + "".join(map(str, digits)) + str(check)


def _password(draw: Draw) -> str:
    word = draw.pick("Sommer", "tiger", "Qwerty", "blueSky", "letmein")
    return draw.turn(f"{word}{draw.some(3)}!", f"{word}#{draw.some(2)}", f"{word}{draw.some(4)}")


def _phone(draw: Draw) -> str:
    """A number of one of the policy's regions with other last digits, in national or international
    form.
    """
    import phonenumbers
    from phonenumbers import PhoneNumberFormat as Form
    from phonenumbers import PhoneNumberType as Type

    region, kind = draw.turn(*draw.policy.phone_regions), draw.pick(Type.FIXED_LINE, Type.MOBILE)
    base: Any = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(
        "US"
    )
    own = base.national_number // 1000 * 1000 + int(draw.some(3))
    other = phonenumbers.PhoneNumber(country_code=base.country_code, national_number=own)
    number = other if phonenumbers.is_valid_number(other) else base
    text: str = phonenumbers.format_number(
        number, draw.pick(Form.NATIONAL, Form.INTERNATIONAL, Form.E164)
    )
    digits = "".join(char for char in text if char in DIGITS)
    return draw.pick(
        text, text, text.replace(" ", "."), text.replace(" ", "-"), text if "+" in text else digits
    )


def _nhs(draw: Draw) -> str:
    while True:
        digits = draw.shaped("4########")
        check = 11 - sum(int(d) * (10 - at) for at, d in enumerate(digits)) % 11
        if check != 10:
            whole = digits + str(check % 11)
            return draw.turn(
                f"{whole[:3]} {whole[3:6]} {whole[6:]}",
                whole,
                f"{whole[:3]}-{whole[3:6]}-{whole[6:]}",
            )


def _url(draw: Draw) -> str:
    path = draw.pick("", "/help", "/users/17?tab=2")
    return draw.turn(
        f"https://www.example.com{path}", f"www.example.org{path}", f"http://shop.example.net{path}"
    )


def _ssn(draw: Draw) -> str:
    area = draw.some(1, "1234578") + draw.some(2, "123456789")
    return draw.turn("-", "-", " ", "").join(
        (area, draw.some(2, "123456789"), draw.some(4, "123456789"))
    )


def _nif(draw: Draw) -> str:
    number = draw.some(8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def _nie(draw: Draw) -> str:
    first, number = draw.turn(0, 1, 2), draw.some(7)
    return "XYZ"[first] + number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{first}{number}") % 23]


def _itin(draw: Draw) -> str:
    parts = (draw.shaped("9##"), draw.some(1, "78") + draw.some(1, "0123456"), draw.some(4))
    return draw.turn("-", " ", "-", "").join(parts)


def _uuid(draw: Draw) -> str:
    return "-".join(
        (
            draw.some(8, HEX),
            draw.some(4, HEX),
            "4" + draw.some(3, HEX),
            "a" + draw.some(3, HEX),
            draw.some(12, HEX),
        )
    )


def _key_header(draw: Draw) -> str:
    return f"-----BEGIN {draw.turn('', 'RSA ', 'EC ', 'OPENSSH ')}PRIVATE KEY-----"


SHAPES: dict[str, Callable[[Draw], str]] = {
    "API_KEY": _api_key,
    "CREDIT_CARD": _card,
    "CRYPTO": _crypto,
    "DATE_TIME": _date,
    "EMAIL_ADDRESS": _mail,
    "ES_NIE": _nie,
    "ES_NIF": _nif,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _ip,
    "LOCATION": _listed("LOCATION"),
    "MAC_ADDRESS": _mac,
    "MEDICAL_LICENSE": _dea,
    "NRP": _listed("NRP"),
    "ORGANIZATION": _listed("ORGANIZATION"),
    "PASSWORD": _password,
    "PERSON": _listed("PERSON"),
    "PHONE_NUMBER": _phone,
    "PRIVATE_KEY": _key_header,
    "UK_NHS": _nhs,
    "URL": _url,
    "US_BANK_NUMBER": lambda draw: draw.some(1, "123456789") + draw.some(draw.turn(9, 11, 8, 13)),
    "US_DRIVER_LICENSE": lambda draw: draw.turn(
        draw.some(1, LETTERS) + draw.some(7), draw.some(1, LETTERS) + draw.some(12)
    ),
    "US_ITIN": _itin,
    "US_PASSPORT": lambda draw: draw.turn(
        draw.some(9, "123456789"), draw.some(1, LETTERS) + draw.some(8)
    ),
    "US_SSN": _ssn,
    "UUID": _uuid,
}
"""Entity to the function that makes its values."""
