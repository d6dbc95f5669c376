"""Fields of a control in a report. The report holds the catalogue's own entry."""

CATALOGUE = ("how_sure", "strength", "evidence", "roles", "jurisdictions", "of")
"""The catalogue does not accept every text for these."""
NOT_STATED = ("title", "note", "what_it_asks", "gap", "applies", "by_analogy")
"""An entry may leave these out."""
