"""Writes the schema files anew: `python -m governance.schemas`."""

from governance.schemas import FOLDER, documents

for name, text in documents().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
