"""Whose account a registry server is asked with."""

from __future__ import annotations

import pytest

from governance.registry.rest import account

OWN = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "hers"}
LOGS = {"COUNTERSIGN_USER": "ben", "COUNTERSIGN_PASSWORD": "his"}
SERVER = "https://models.example.org"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (OWN, ("ann", "hers")),
        ({**LOGS, **OWN}, ("ann", "hers")),
        (LOGS, ("ben", "his")),
        ({**LOGS, "COUNTERSIGN_LOG": SERVER}, ("ben", "his")),
        ({**LOGS, "COUNTERSIGN_LOG": f"{SERVER}/"}, ("ben", "his")),
        ({**LOGS, "COUNTERSIGN_LOG": "sqlite:////x.db"}, ("ben", "his")),
        ({**LOGS, "COUNTERSIGN_LOG": "https://log.example.org"}, None),
        ({**LOGS, "COUNTERSIGN_LOG": "http://models.example.org"}, None),
        ({**LOGS, **OWN, "COUNTERSIGN_LOG": "https://log.example.org"}, ("ann", "hers")),
        ({**LOGS, "MLFLOW_TRACKING_USERNAME": "ann"}, ("ben", "his")),
    ],
)
def test_a_logs_password_is_no_business_of_another_server(
    environ: dict[str, str], expected: tuple[str, str] | None
) -> None:
    assert account(f"{SERVER}/api", environ) == expected
