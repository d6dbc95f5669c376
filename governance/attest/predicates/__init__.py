# Every model is imported from here, whichever module defines it. The kinds of evidence stand in
# the order in which a release is made.
# ruff: noqa: F403
# ruff: isort: skip_file
"""What each kind of evidence says: the typed predicates of our in-toto statements, version 1.

A statement's subject has the digests of what a stage made. Its predicate is one of these models.
Numbers follow RFC 8785: finite, integers within 2**53. A figure that does not exist is null, and
its reason stands beside it. A predicate holds no record text, record ids, secrets or personal data:
only counts, types, digests and Merkle roots.

`parts`    what several predicates share, and the table of the kinds of evidence
`origin`   the first entry of a log, and changed policies
`data`     what the data stages state: ingest, scan, quality, generation
`training` what the model stages state: base, gate, train, evaluate, reproduction, seed_run,
            failure
`judging`  the card of a judge
`leaks`    what a leak probe measured
`results`  results that another evaluation tool wrote
`release`  registrations, packets, promotions, rehearsals, reports
`people`   what people sign: approvals, waivers, requests, incidents, keys
`erasure`  what people sign when records are erased
`rollouts` requests for canary rollouts, what was observed, and every step
`access`   who read datasets and models
`monitoring` what a version did in service, window by window
"""

from governance.attest.predicates.parts import *
from governance.attest.predicates.origin import *
from governance.attest.predicates.data import *
from governance.attest.predicates.training import *
from governance.attest.predicates.judging import *
from governance.attest.predicates.leaks import *
from governance.attest.predicates.release import *
from governance.attest.predicates.results import *
from governance.attest.predicates.people import *
from governance.attest.predicates.erasure import *
from governance.attest.predicates.access import *
from governance.attest.predicates.monitoring import *
from governance.attest.predicates.rollouts import *
