"""Reads the results of other evaluation tools: files from outside, which nothing here trusts.

`file`       which tool wrote a file, and its content as typed data
`lm_eval`    results_*.json of lm-evaluation-harness
`inspect_ai` JSON logs of inspect-ai
"""
