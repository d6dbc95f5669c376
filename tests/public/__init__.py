"""The pipeline on real public data: an overlay of parameters and policies over the project's own
graph.
"""
