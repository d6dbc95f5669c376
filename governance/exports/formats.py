"""The formats by name, and their files, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.attest import canonical
from governance.attest.envelope import sign_statement
from governance.attest.keys import Signer
from governance.base.errors import ConfigError, StorageError
from governance.exports import attestations, bom, card, croissant
from governance.exports.records import Records
from governance.exports.text import file_name

NO_DECISION = "no decision about an alias of this version is recorded"


@dataclass(frozen=True)
class Document:
    """One file of an export."""

    path: str
    """Relative, POSIX."""
    data: bytes


@dataclass(frozen=True)
class Export:
    """One format's documents for a version, and what has none."""

    format: str
    documents: tuple[Document, ...]
    missing: tuple[str, ...] = ()
    """What there is no document of, and why, in words."""


@dataclass(frozen=True)
class Format:
    """A format that other tools read."""

    name: str
    says: str
    make: Callable[[Records, Signer | None], Export]


def _model_card(records: Records, _: Signer | None) -> Export:
    return Export("model-card", (Document("README.md", card.model_card(records).encode()),))


def _bom(records: Records, _: Signer | None) -> Export:
    return Export("cyclonedx", (Document("bom.cdx.json", bom.bom(records)),))


def _croissant(records: Records, _: Signer | None) -> Export:
    made = [
        Document(f"croissant/{file_name(name)}.json", data)
        for name, data in croissant.datasets(records)
    ]
    return Export(
        "croissant", tuple(made), () if made else ("datasets: no gate's request stands in the log",)
    )


def _provenance(records: Records, signer: Signer | None) -> Export:
    made = _statements(attestations.provenance(records), signer)
    return Export(
        "slsa-provenance", made, () if made else ("no training stands in the log for this version",)
    )


def _vsa(records: Records, signer: Signer | None) -> Export:
    made = _statements(attestations.summaries(records), signer)
    missing = tuple(attestations.not_summarized(records))
    return Export("slsa-vsa", made, missing if made or missing else (NO_DECISION,))


def _results(records: Records, signer: Signer | None) -> Export:
    made = _statements(attestations.results(records), signer)
    return Export("test-result", made, tuple(attestations.not_run(records)))


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("model-card", "Hugging Face model card with model-index: README.md", _model_card),
        Format("cyclonedx", "CycloneDX 1.6 ML-BOM: bom.cdx.json", _bom),
        Format("croissant", "Croissant 1.1 with RAI 1.0, one per dataset version", _croissant),
        Format(
            "slsa-provenance",
            "SLSA provenance v1, one in-toto statement per training stage",
            _provenance,
        ),
        Format("slsa-vsa", "SLSA verification summary v1, one per alias that was decided", _vsa),
        Format(
            "test-result",
            "in-toto test results v0.1: evaluations, data quality, personal data",
            _results,
        ),
    )
}
"""Name to format, in the order in which they are written."""


def export(
    records: Records, names: Sequence[str] = (), signer: Signer | None = None
) -> list[Export]:
    """The formats of these names, or all. With a signer, statements come in DSSE envelopes. Raises
    `ConfigError`.
    """
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise ConfigError(f"no format {unknown[0]!r}", expected=f"one of: {', '.join(FORMATS)}")
    return [one.make(records, signer) for one in FORMATS.values() if not names or one.name in names]


def _statements(named: Iterable[attestations.Named], signer: Signer | None) -> tuple[Document, ...]:
    return tuple(_statement(name, value, signer) for name, value in named)


def _statement(name: str, value: dict[str, Any], signer: Signer | None) -> Document:
    data, ending = (
        (canonical.dumps(value), "json")
        if signer is None
        else (sign_statement(value, signer), "dsse.json")
    )
    return Document(f"attestations/{file_name(name)}.{ending}", data)


# --- files ----------------------------------------------------------------------------------------


def write(folder: Path, documents: Sequence[Document]) -> list[Path]:
    """Writes all documents below `folder`, each whole, and none where one cannot be. Raises
    `StorageError`.
    """
    refuse_sealed(folder)
    staged: list[tuple[Path, Path]] = []
    try:
        for one in documents:
            staged.append(_stage(folder / one.path, one.data))
        for temporary, target in staged:
            temporary.replace(target)
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror or error}",
            where=str(folder),
            fix="give -o FOLDER where there is room and this account may write",
        ) from None
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    return [target for _, target in staged]


def _stage(target: Path, data: bytes) -> tuple[Path, Path]:
    """The document beside its place, on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise IsADirectoryError(21, "a folder stands in its place", str(target))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary, target


def refuse_sealed(folder: Path) -> None:
    """Nothing is written into a model folder: its manifest is a closed world. Raises
    `ConfigError`.
    """
    for place in _upwards(folder.resolve()):
        if any(place.glob("*.safetensors")):
            raise ConfigError(
                "this is a model folder, and what is in it is sealed by its digest",
                where=str(place),
                fix="give -o FOLDER outside of it",
            )


def _upwards(folder: Path) -> Iterator[Path]:
    yield from (place for place in (folder, *folder.parents) if place.is_dir())
