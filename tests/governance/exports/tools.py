"""The tools that read what is exported. Each is imported at first use: CycloneDX's validator takes
two CPU-seconds to import, and every worker of a test run imports all test modules.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def _validator() -> Any:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def bom_error(text: str) -> Any:
    """What CycloneDX's own schema has against a bill of materials; None if nothing."""
    return _validator().validate_str(text)


def croissant_dataset(document: dict[str, Any]) -> Any:
    """A Croissant document as its library reads it. Raises its `ValidationError`."""
    import mlcroissant

    return mlcroissant.Dataset(jsonld=document)
