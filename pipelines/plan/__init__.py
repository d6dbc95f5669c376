"""What a run will do and need, known before anything runs: `countersign plan`, which `repro` asks
first.

`graph` says which stage reads from which. `changes` says what will run and why. `checks` says what
would refuse the run. `needs` estimates memory and disk space.
"""
