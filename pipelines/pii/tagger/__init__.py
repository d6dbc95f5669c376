"""A light tagger of names: persons, places and organisations.

`model` finds them with the weights beside it; `words` is what it sees of a text. The rest made the
weights: `lists` (what lists say of a word), `examples` (labelled texts) and `train`. `card.md`
states data, licences, scores and limits.
"""
