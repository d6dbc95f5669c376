"""Stages that start fast: `countersign repro` keeps processes that have imported what stages need,
and each stage is a fork of one of them.

1. `start`: `countersign repro` starts the parent process, isolated as a stage is, and puts a
   `countersign` of its own first on DVC's path: `client`.
2. `client` asks the parent to run a stage, or what `countersign repro` does before and after it: it
   passes arguments, folder, environment and descriptors, then signals; it gets the exit status.
3. `parent` imports, runs nothing, and forks a worker for each request. A worker runs one stage and
   ends.
4. Evidence is that of a cold run. Before each fork the parent compares every file that it has
   loaded with what the file was then. After any difference nothing is forked any more.
5. Whatever is not as it should be (another environment, a changed file, no parent, a thread) ends
   in a cold run: the client becomes the command that DVC would have started.

6. Under a plain `dvc repro`, the first stage starts the parent: `under_dvc`.

COUNTERSIGN_WORKERS=off: there is no parent.
"""
