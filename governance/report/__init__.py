"""The audit report of a version: computed from verified records, never typed.

what it rests on    `facts` (the log, the version's chain), `standing` (where it stands with
                    people)
put together        `build`; its evidence sections are those of the review page,
                    too; typed by `model`, the JSON twin, one module per group of sections
page one            `verdict`, `gates`, `people`, `front`, `exceptions`, `gaps`, `history`
its sections        `data`, `labelling`, `readers`, `training`, `compute`, `rewards`, `assurance`,
                    `scores`, `behaviour`, `leaks`, `canary`, `service`, `judging`, `alignment`,
                    `outside`, `record`, `incidents`, `lines`;
                    `controls` of outside `frameworks`, with the evidence that `links` finds
in words            `reasons`: the sentence of each reason's code
how it is shown     `html`, `charts`; `sections` and `terminal` for a terminal
beside it           `index` of all versions; `status` of the project; `dossier`, beside a
                    model's files in the registry; `erasure`, the page of a certificate
"""
