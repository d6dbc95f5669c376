"""Judged comparisons of answers: who wins, how often, and how far the judge can be believed.

`asking`          asks a judge in both orders
`contest`         compares the answers of two models, item by item
`suite`           the digest of a judged suite
`battles`         what a judge said, and the style of the answers
`reading`         files of AlpacaEval, MT-Bench and Arena
`winrates`        win rates and consistency between orders
`length_control`  win rates at equal length
`ratings`         Bradley-Terry ratings of many models, with control of style
`resampling`      intervals
"""
