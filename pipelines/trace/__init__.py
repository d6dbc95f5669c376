"""Which records are in which versions of datasets, and what was made of these."""
