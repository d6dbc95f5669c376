"""The search for personal data: Presidio as the reference, and the same findings faster."""
