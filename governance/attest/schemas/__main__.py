"""Writes the schema files anew: `python -m governance.attest.schemas`."""

from governance.attest.schemas import FOLDER, documents

for name, text in documents().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
