"""What a model gives away of its training data (docs/leak-probe.md).

`canaries`     made-up secrets that a training plants among its records
`sampling`     which records of a dataset are compared: trained on, and held out
`inference`    AUC and error of scores that should not tell the two apart
`probing`      asks a model for all of this; imports torch
"""
