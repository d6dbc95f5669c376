"""The DVC stages, one module each, and what only they need."""
