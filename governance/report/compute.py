"""Time, energy and cost of the trainings behind a version, in words: what their statements say, and
nothing that was estimated since.
"""

from __future__ import annotations

from collections.abc import Iterable

from governance.attest.predicates import Train
from governance.base.text import number, words

JOULES_PER_KWH = 3_600_000


def of_training(train: Train) -> str:
    """What one training used."""
    used = train.compute
    if used is None:
        return "not recorded"
    devices = "" if used.devices is None else f" ({number(used.devices)} in use)"
    time = f"{used.device_hours:.4g} device hours on {train.device}{devices}"
    return "; ".join([time, _energy(used.energy_joules, train), *_costs([train])])


def _energy(joules: float | None, train: Train) -> str:
    used = train.compute
    missing = used.energy_not_measured if used else ""
    if joules is None:
        return f"energy not measured{f': {missing}' if missing else ''}"
    counters = words(used.energy_counters) if used else ""
    without = f"; without {missing}" if missing else ""
    return f"energy {_kwh(joules)} by counters of the machine ({counters}){without}"


def in_all(trainings: Iterable[Train]) -> list[str]:
    """What the trainings used together: hours, energy and cost, each with how many say it."""
    trains = list(trainings)
    if not trains:
        return []
    hours: dict[str, float] = {}
    for train in trains:
        if (used := train.compute) is not None:
            hours[train.device] = hours.get(train.device, 0.0) + used.device_hours
    timed = words([f"{time:.4g} on {device}" for device, time in hours.items()], "not recorded")
    return [f"device hours: {timed}", f"energy: {in_all_energy(trains)}", *_costs(trains)]


def in_all_energy(trains: list[Train]) -> str:
    """The energy that was measured, and of how many trainings it is."""
    found = [
        train.compute.energy_joules
        for train in trains
        if train.compute is not None and train.compute.energy_joules is not None
    ]
    if not found:
        return "not measured"
    of = f"{len(found)} of {len(trains)} trainings"
    return f"{_kwh(sum(found))} measured in {of}, by counters of whole devices{_partly(trains)}"


def is_measured(train: Train) -> bool:
    """Whether its energy was measured, and nothing of it is missing."""
    used = train.compute
    return used is not None and used.energy_joules is not None and not used.energy_not_measured


def _partly(trains: list[Train]) -> str:
    count = sum(not is_measured(train) for train in trains)
    return f"; incomplete in {count}" if count else ""


def _costs(trains: list[Train]) -> list[str]:
    """The cost in each currency; empty where no training states one."""
    sums: dict[str, int] = {}
    priced = 0
    for train in trains:
        if train.compute is not None and (cost := train.compute.cost) is not None:
            sums[cost.currency] = sums.get(cost.currency, 0) + cost.millionths
            priced += 1
    if not sums:
        return []
    amounts = words([f"{amount / 1e6:,.4f} {currency}" for currency, amount in sums.items()])
    of = "" if len(trains) == 1 else f" for {priced} of {len(trains)} trainings"
    return [f"cost {amounts}{of}, by the prices of policy at the time"]


def _kwh(joules: float) -> str:
    return f"{joules / JOULES_PER_KWH:.4g} kWh"
