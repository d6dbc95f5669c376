"""Figures, with the machine they were taken on: `make bench` writes benchmarks/results.md."""
