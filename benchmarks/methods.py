"""`make bench-methods`: every method as docs/choosing-a-method.md documents it, with the bare TRL
script beside it. Takes half an hour on two cores.

Works in build/bench-methods, with a log of its own. For each row: the effect on held-out items
against the parent (paired, 95% interval), the same with other training seeds, the model of the bare
script (`bare_trl`), and the CPU seconds of both trainings with all their processes. Rows that have
run are kept in results.json there, so that a second call goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.__main__ import machine
from benchmarks.repeating import cpu_seconds

ROOT = Path(__file__).parent.parent
WORK = ROOT / "build" / "bench-methods"
PAGE = ROOT / "docs" / "choosing-a-method.md"
RESULTS = ROOT / "benchmarks" / "methods.md"
ENVIRON = {
    **os.environ,
    "COUNTERSIGN_HOME": str(WORK / ".state"),
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_CACHE": str(WORK / ".datasets"),
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
ORDER = ("sft", "reward", "dpo", "kto", "orpo", "grpo", "rloo", "ppo", "rloo_by_model")
METRIC = {"reward": "pair_accuracy"}
"""Of a row; `sampled_exact` for the others."""
NO_BARE = "none: TRL 1.16 has no PPO"


@dataclass(frozen=True)
class Measured:
    """One row of the table."""

    name: str
    method: str
    parent: str
    rewards: list[str]
    metric: str
    mean: float
    effect: list[float] | None
    """Paired difference from the parent: mean and both ends of the 95% interval; None where the
    parent has no scores of this kind.
    """
    seeds: list[float]
    """The mean with each further seed."""
    governed_cpu: float
    bare_cpu: float | None
    bare: str
    """How the bare script's model compares."""
    bare_mean: float | None


def main() -> None:
    """Runs every row that has not run, and writes the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    options.add_argument("--seeds", type=int, default=2, help="further training seeds of each row")
    seeds = options.parse_args().seeds
    file = WORK / "results.json"
    if not file.exists():
        prepare()
    rows = [Measured(**row) for row in json.loads(file.read_text(encoding="utf-8"))]
    for name in ORDER[len(rows) :]:
        say(name)
        rows.append(measured(name, seeds))
        file.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    RESULTS.write_text(page(rows), encoding="utf-8")
    say(f"written: {RESULTS.relative_to(ROOT)}")


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"bench: {text}\n")


def run(*command: str) -> str:
    """What a command prints in the working folder; it must succeed."""
    done = subprocess.run(
        command, cwd=WORK, env=ENVIRON, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def prepare() -> None:
    """The default project with the page's rows, up to the first training after `base`."""
    say("preparing build/bench-methods")
    shutil.rmtree(WORK, ignore_errors=True)
    made = ("data", "models", "evaluations", "gates", "reports", "dvc.lock")
    skip = shutil.ignore_patterns(".venv", ".git", "build", "tmp", "cache", "__pycache__", *made)
    shutil.copytree(ROOT, WORK, ignore=skip)
    edit(WORK / "params.yaml")
    run("git", "init", "-q")
    run("git", "add", "-A")
    author = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    run("git", *author, "commit", "-qm", "bench")
    run("countersign", "repro", "check_quality", "suite", "evaluate@base")
    (WORK / "results.json").write_text("[]", encoding="utf-8")


def edit(params: Path) -> None:
    """Adds the rows of the page, and RLOO with the reward of PPO."""
    yaml = YAML()
    content = yaml.load(params)
    blocks = PAGE.read_text(encoding="utf-8").split("```yaml\n")[1:]
    documented = {
        name: row for text in blocks for name, row in yaml.load(text.split("```")[0]).items()
    }
    for name in ORDER:
        if name not in content["stages"] and name in documented:
            content["stages"][name] = documented[name]
    by_model = json.loads(json.dumps(documented["ppo"]))  # a copy, because YAML would write aliases
    content["stages"]["rloo_by_model"] = {**by_model, "method": "rloo"}
    yaml.dump(content, params)


def measured(name: str, seeds: int) -> Measured:
    """One row: the governed training and evaluation, further seeds, and the bare script."""
    from pipelines.params import load_params

    os.chdir(WORK)
    stage = load_params(WORK).stages[name]
    run("countersign", "stage", "recheck")
    run("countersign", "stage", "gate", name)
    governed = cpu_seconds(("countersign", "stage", "train", name), WORK, ENVIRON)
    run("countersign", "stage", "evaluate", name)
    metric = METRIC.get(name, "sampled_exact")
    own = scores(name, metric)
    parent = scores(stage.parent, metric)
    more = json.loads(run("countersign", "reproduce", name, "--seeds", str(seeds), "--json"))
    bare = beside(name, metric)
    return Measured(
        name=name,
        method=stage.method,
        parent=stage.parent,
        rewards=[reward.name for reward in stage.rewards],
        metric=metric,
        mean=sum(own) / len(own),
        effect=effect(own, parent) if parent else None,
        seeds=[each["means"][metric] for each in more["runs"]],
        governed_cpu=governed,
        **bare,
    )


def scores(model: str, metric: str) -> list[float]:
    """The stored scores of a model, item by item; empty where it has none of this metric."""
    file = WORK / "evaluations" / model / "scores.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [line[metric] for line in lines if metric in line]


def effect(own: list[float], parent: list[float]) -> list[float]:
    """The paired difference and its 95% interval."""
    from governance.base.statistics import difference_interval

    found = difference_interval(own, parent, 0.95)
    return [found.mean, found.low, found.high]


def beside(name: str, metric: str) -> dict[str, Any]:
    """The bare script: its CPU seconds, and how its model compares with the governed one."""
    from pipelines.params import load_params
    from pipelines.training import objective
    from pipelines.training.compare import compare

    params = load_params(WORK)
    if params.stages[name].method == "ppo":
        return {"bare_cpu": None, "bare": NO_BARE, "bare_mean": None}
    stage, resolved = params.stages[name], objective.resolve(params, name)
    row = {**stage.model_dump(mode="json"), "trainer": resolved.trainer, "lora": resolved.lora}
    output = WORK / ".bare" / name
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / "row.json").write_text(json.dumps(row), encoding="utf-8")
    script = str(ROOT / "benchmarks" / "bare_trl.py")
    command = (sys.executable, script, str(output / "row.json"), str(output))
    used = cpu_seconds(command, WORK, ENVIRON)
    found = compare(WORK / "models" / name / "model", output / "model")
    if found.differing == 0:
        return {"bare_cpu": used, "bare": "the same bits", "bare_mean": None}
    difference = f"{found.largest_difference:.1g}" if found.largest_difference is not None else "?"
    told = f"{found.differing} of {found.tensors} tensors differ, by at most {difference}"
    return {"bare_cpu": used, "bare": told, "bare_mean": scored(name, output / "model", metric)}


def scored(name: str, model: Path, metric: str) -> float:
    """The bare model's mean on the suite of the stage."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from governance.base.progress import Progress\n"
        "from pipelines import paths, scoring\n"
        "from pipelines.metrics import mean, metrics_of\n"
        "from pipelines.params import load_params\n"
        "from pipelines.stages.evaluate import rows_of\n"
        "from pipelines.training.methods import method\n"
        "name, model, metric = sys.argv[1:]\n"
        "params = load_params(Path('.'))\n"
        "suite = params.suites[params.suite_of(name)]\n"
        "metrics = metrics_of(suite, name)\n"
        "rows = rows_of(paths.ready(params.suite_of(name)) / 'records', suite, metrics, name)\n"
        "kind = method(params.stages[name].method).model\n"
        "with Progress().bar(len(rows), name) as bar:\n"
        "    scorer = scoring.open_scorer(Path(model), kind, suite, 1, bar)\n"
        "    print(mean(scoring.score(scorer, rows, metrics)[metric]))\n"
    )
    return float(run(sys.executable, "-c", code, name, str(model), metric).splitlines()[-1])


def page(rows: list[Measured]) -> str:
    """The results as Markdown."""
    head = ("row", "parent", "learns from", "metric", "mean", "effect", "seeds")
    head = (*head, "bare script's model", "CPU s, governed", "CPU s, bare")
    lines = [
        "# Methods beside the bare script",
        "",
        f"Written by `make bench-methods` on {datetime.now(UTC):%Y-%m-%d}, commit {commit()}.",
        f"{machine()}. CPU seconds: of all processes, one run each, imports included; other work",
        "ran on the machine. Effect: paired difference from the parent on held-out items, with its",
        "95% interval over items. Seeds: the means with the row's own seed and with further ones.",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *(f"| {' | '.join(cells(row))} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def cells(row: Measured) -> list[str]:
    """One line of the table."""
    low, high = min(row.mean, *row.seeds), max(row.mean, *row.seeds)
    effect = "no scores of the parent"
    if row.effect is not None:
        effect = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*row.effect)
    mean = "" if row.bare_mean is None else f"; its mean {row.bare_mean:.3f}"
    return [
        f"`{row.name}`",
        f"`{row.parent}`",
        ", ".join(row.rewards) or "data",
        row.metric,
        f"{row.mean:.3f}",
        effect,
        f"{low:.3f} to {high:.3f} ({1 + len(row.seeds)} seeds)",
        f"{row.bare}{mean}",
        f"{row.governed_cpu:.0f}",
        "" if row.bare_cpu is None else f"{row.bare_cpu:.0f}",
    ]


def commit() -> str:
    """The commit of the checkout, for people."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
