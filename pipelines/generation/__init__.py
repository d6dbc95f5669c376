"""Generates data: answers that models write, criticise, revise and compare by a constitution.

`deciding`  whether it is allowed
`work`      drafts, critiques and revisions, and judged pairs
`speakers`  who is asked: a model of the project, a reward model, an endpoint
`endpoint`  asks an endpoint that speaks OpenAI's protocol
`replies`   keeps the replies of endpoints, by the digest of their request
"""
