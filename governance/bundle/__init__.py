"""Bundles: one file with everything the log says about a model version, checked by whoever holds
it, offline.

`form`                 the file: strict, one canonical byte form (docs/formats.md is its
                       specification)
`select`               what goes in, put together from a log
`log`                  `BundleLog`: a bundle read as a log
`check`                what holds of a bundle, and what it cannot show
`sources`              what reports and commands read: a log of this machine, or a bundle
`standalone_verifier`  a second verifier in one file, which imports nothing of Countersign
"""

from __future__ import annotations

from governance.bundle.check import BundleReport, verify_bundle
from governance.bundle.form import Bundle, read, write
from governance.bundle.log import BundleLog
from governance.bundle.select import bundle_of

__all__ = ["Bundle", "BundleLog", "BundleReport", "bundle_of", "read", "verify_bundle", "write"]
