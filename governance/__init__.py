"""The trust core: digests, signatures, the log, policy, decisions, registry, reports.

Free of torch, TRL, datasets and DVC.
"""
