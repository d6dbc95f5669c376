"""Requests and checkpoints that other implementations test themselves with.

C2SP publishes no file of test vectors for tlog-witness and tlog-cosignature; its pages have
examples without keys. These are from the tests of two implementations:

- SIGSUM, SUMDB: FiloSottile/torchwood, internal/witness/witness_test.go and
  cmd/litewitness/testdata (ISC licence).
- MONKEYS: transparency-dev/witness, internal/http/server_test.go (Apache-2.0).
- EXAMPLE: the example in https://c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from governance.log.notes import LOG_KEY, VerifierKey, ed25519_key, read_vkey


@dataclass(frozen=True)
class Step:
    """A request, and the status of the answer."""

    body: str
    status: int


def request(old: int, proof: list[str], note: str) -> str:
    lines = "".join(f"{base64.b64encode(bytes.fromhex(step)).decode()}\n" for step in proof)
    return f"old {old}\n{lines}\n{note}"


_SIGSUM = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
_RAW = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")


def _sigsum(size: int, root: str, signature: str) -> str:
    return f"{_SIGSUM}\n{size}\n{root}\n\n\u2014 {_SIGSUM} {signature}\n"


ONE = _sigsum(
    1,
    "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
)
THREE = _sigsum(
    3,
    "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
    "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
)
FIVE = _sigsum(
    5,
    "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
    "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
)
LEAF = "2a" + "{:02x}" + "00" * 30
ONE_TO_THREE = [LEAF.format(1), LEAF.format(2)]
ONE_TO_FIVE = [
    LEAF.format(1),
    "f9f50357e93def4078237b8aaea24ce1a3f5965a0f64ff26bebd99e30470d8b2",
    LEAF.format(4),
]
THREE_TO_FIVE = [
    LEAF.format(2),
    LEAF.format(3),
    "c2088815d65f60dbfa594d4e96504ab169cb6084bf0c132ab7c521fd2e0eba41",
    LEAF.format(4),
]
SIGSUM_KEY = VerifierKey(_SIGSUM, ed25519_key(_RAW), LOG_KEY)
SIGSUM = [
    Step(request(0, [LEAF.format(1)] * 64, ONE), 400),  # more than 63 lines of proof
    Step(request(0, [], ONE), 200),
    Step(request(1, ONE_TO_THREE, THREE.replace("8WVrx6go=", "8WVrx6gs=")), 403),
    Step(request(1, ONE_TO_THREE, THREE.replace("\u2014 sigsum", "\u2014 another")), 403),
    Step(request(1, ONE_TO_THREE, THREE.replace("e562\n3\n", "e561\n3\n")), 404),
    Step(request(1, [], THREE), 422),
    Step(request(1, [LEAF.format(1), LEAF.format(2)[:-2] + "01"], THREE), 422),
    Step(request(1, ONE_TO_THREE, THREE), 200),
    Step(request(1, ONE_TO_FIVE, FIVE), 409),
    Step(request(3, THREE_TO_FIVE, FIVE), 200),
    Step(request(5, [], FIVE), 200),
    Step(request(5, [LEAF.format(1)], FIVE), 422),
    Step(request(5, [], THREE), 400),  # the old size is larger than the checkpoint
    Step(request(3, [], THREE), 409),
]
"""In this order, to one witness."""

SUMDB_KEY = read_vkey("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
SUMDB_ORIGIN = "go.sum database tree"
SUMDB = (
    f"{SUMDB_ORIGIN}\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n\u2014"
    " sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTt"
    "PydhKCExixSfwQ=\n"
)

MONKEYS_ORIGIN = "Log Checkpoint v0"
MONKEYS_KEY = read_vkey("monkeys+87be2a55+AeK/t7elVrIheVCPxQNYkvKFw/2ahkj6Gm9afBJw6S8q")
_MONKEYS_5 = (
    "Log Checkpoint v0\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n\u2014 monkeys h74qVe5jWoK8"
    "CX/zXrT9X80SyEaiwPb/0p7VW7u+cnXxq5pJYQ6vhxUZ5Ywz9WSD3HIyygccizAg+oMxOe6pRgqqOQE=\n"
)
_MONKEYS_8 = (
    "Log Checkpoint v0\n8\nV8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=\n\n\u2014 monkeys h74qVetPycmW"
    "eWIySx/cMKcLopNS9h2je2DWe2w7PLRmczqdqinRGPscYklpBQO5Un6B5eUMJDwZprVpJie0lSBNPg8=\n"
)
_BANANAS_5 = (
    "Log Checkpoint v0\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n\u2014 bananas z2OfE18+NwUj"
    "jJBXH7m+fh67bu29p1Jbypr4GFUQohgQgCeuPJZtGTvfR9Pquh2Iebfq+6bhl3G/77lsKiGIea6NAwE=\n"
)
_5_TO_8 = [
    "b9e1d62618f7fee8034e4c5010f727ab24d8e4705cb296c374bf2025a87a10d2",
    "aac66cd7a79ce4012d80762fe8eec3a77f22d1ca4145c3f4cee022e7efcd599d",
    "89d0f753f66a290c483b39cd5e9eafb12021293395fad3d4a2ad053cfbcfdc9e",
    "29e40bb79c966f4c6fe96aff6f30acfce5f3e8d84c02215175d6e018a5dee833",
]
MONKEYS = [
    Step(request(0, [], _BANANAS_5), 403),  # a key that is not known for this log
    Step(request(0, [], _MONKEYS_5), 200),
    Step(request(5, ["aa" * 32] * 4, _MONKEYS_8), 422),
    Step(request(5, _5_TO_8, "aaa"), 400),
    Step(request(5, _5_TO_8, _MONKEYS_8), 200),
]

EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1"
    "gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oy"
    "in1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
EXAMPLE_TIME = 1679315147
