"""Win rates, ratings and figures at equal length and style: computed answers, other libraries, and
what AlpacaEval published.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.judging.battles import Answer, Battle, Style, style_of
from pipelines.judging.length_control import length_controlled
from pipelines.judging.ratings import PENALTY, SCALE, NoRatingsError, ratings
from pipelines.judging.reading import read
from pipelines.judging.resampling import Floats, Sampling
from pipelines.judging.suspicions import suspicions
from pipelines.judging.winrates import orders, win_rates

FEW = Sampling(samples=100)


def battle(at: int, first: str, second: str, win: float | None, **more: object) -> Battle:
    return Battle(f"q{at}", at, first, second, win, **more)  # type: ignore[arg-type]


def played(
    seed: int, strengths: dict[str, float], number: int, effect: float = 0.0
) -> list[Battle]:
    """Random comparisons. `effect`: of the difference in length, in standard deviations."""
    rng = np.random.default_rng(seed)
    names, found = list(strengths), []
    lengths = {name: 100 + 80 * at for at, name in enumerate(names)}
    for at in range(number):
        first, second = rng.choice(len(names), 2, replace=False)
        one, other = names[first], names[second]
        sizes = [lengths[one] * rng.uniform(0.5, 1.5), lengths[other] * rng.uniform(0.5, 1.5)]
        longer = (sizes[0] - sizes[1]) / (sum(sizes) + 1)
        logit = strengths[one] - strengths[other] + effect * longer
        win = 0.5 if rng.random() < 0.1 else float(rng.random() < 1 / (1 + np.exp(-logit)))
        answers = tuple(Answer(Style(size, 0, 0, 0), bytes([at % 251])) for size in sizes)
        found.append(battle(at, one, other, win, answers=answers))
    return found


def test_a_tie_counts_half_and_no_verdict_nowhere() -> None:
    wins = [1.0, 1.0, 0.5, 0.0, None]
    rate, other = win_rates([battle(at, "m", "b", win) for at, win in enumerate(wins)], FEW)
    assert (rate.model, rate.rate.value, other.rate.value) == ("m", 0.625, 0.375)
    assert (rate.wins, rate.ties, rate.losses, rate.no_verdict) == (2, 1, 1, 1)
    assert rate.rate.low is None  # too few


def test_the_interval_is_that_of_theory() -> None:
    """Of 400 comparisons of which 240 are won: 0.6 ± 1.96 sqrt(0.24/400)."""
    battles = [battle(at, "m", "b", float(at < 240)) for at in range(400)]
    (rate,) = win_rates(battles, Sampling(samples=4000), baseline=True)
    assert (rate.rate.low, rate.rate.high) == pytest.approx((0.552, 0.648), abs=0.004)


def test_comparisons_of_one_question_are_drawn_together() -> None:
    """The same verdict said ten times is no more evidence than said once."""
    once = [battle(at, "m", "b", float(at % 2)) for at in range(40)]
    often = [each for each in once for _ in range(10)]
    narrow, wide = (win_rates(given, FEW, baseline=True)[0].rate for given in (once, often))
    assert narrow == wide


def test_consistency_between_orders() -> None:
    said = [(1.0, 1.0)] * 6 + [(1.0, 0.0)] * 3 + [(0.0, 1.0)] + [(0.5, 1.0)] * 2
    found = orders([battle(at, "m", "b", 0.5, orders=each) for at, each in enumerate(said)], FEW)
    assert found is not None
    assert (found.comparisons, found.consistent, found.first, found.second) == (12, 6, 3, 1)
    assert found.rate.value == 0.5
    assert orders([battle(0, "m", "b", 1.0)], FEW) is None


def test_ratings_of_two_models_are_known() -> None:
    """Three wins to one are odds of three: 400 log10(3) points."""
    battles = [battle(at, "a", "b", float(at % 4 > 0)) for at in range(40)]
    found = ratings(battles, FEW, anchor="b").models
    assert found["a"].value == pytest.approx(1000 + 400 * np.log10(3))
    assert found["b"].value == 1000
    mean = ratings(battles, FEW).models.values()
    assert sum(each.value or 0 for each in mean) == pytest.approx(2000)


def test_ratings_are_those_of_statsmodels() -> None:
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    battles = played(1, {"a": 0.8, "b": 0.2, "c": 0.0, "d": -0.7}, 600)
    names = ["a", "b", "c", "d"]
    x = np.array([[(n == b.first) - (n == b.second) for n in names] for b in battles], dtype=float)
    y = np.array([b.win for b in battles])
    fitted = GLM(y, x[:, 1:], family=Binomial()).fit().params * SCALE
    found = ratings(battles, FEW, anchor="a").models
    assert [found[name].value for name in names[1:]] == pytest.approx(1000 + fitted, abs=0.01)
    for name, true in {"b": 0.2, "c": 0.0, "d": -0.7}.items():
        low, high = found[name].low, found[name].high
        assert low is not None and high is not None
        assert low < 1000 + (true - 0.8) * SCALE < high


def test_style_control_is_a_penalised_regression() -> None:
    """The same maximum, found by scipy's general optimiser, and the effect that was planted."""
    from scipy.optimize import minimize

    battles = played(2, {"a": 0.5, "b": 0.0, "c": -0.5}, 1500, effect=2.0)
    found = ratings(battles, FEW, anchor="b", control=True)
    plain = ratings(battles, FEW, anchor="b")
    names = ["a", "b", "c"]
    x = np.array([[(n == b.first) - (n == b.second) for n in names] for b in battles], dtype=float)
    pairs = [[answer.style.length for answer in b.answers or ()] for b in battles]
    terms = np.array([(one - two) / (one + two + 1) for one, two in pairs])
    x = np.column_stack([x, terms / terms.std()])
    y = np.array([b.win for b in battles])

    def loss(values: Floats) -> float:
        logits = x @ np.array([values[0], 0.0, *values[1:]])
        likelihood = (y * logits - np.logaddexp(0, logits)).sum()
        return float(-likelihood + PENALTY / 2 * values[2] ** 2)

    best = minimize(loss, np.zeros(3)).x
    assert found.models["a"].value == pytest.approx(1000 + best[0] * SCALE, abs=0.1)
    assert found.style["length"].value == pytest.approx(best[2], abs=1e-3)
    effect = found.style["length"]
    assert effect.low is not None and effect.high is not None
    assert effect.low < 2.0 * terms.std() < effect.high
    assert (found.models["a"].value or 0) > (plain.models["a"].value or 0)  # c's answers are longer


def test_who_never_lost_has_no_rating() -> None:
    battles = [battle(at, "a", "b", float(at % 2)) for at in range(10)]
    with pytest.raises(NoRatingsError, match="did not both win and lose"):
        ratings([*battles, battle(11, "c", "a", 1.0)], FEW)


@pytest.fixture(scope="module")
def verbose() -> tuple[Floats, Floats, Floats, Floats]:
    """Wins, differences in length, difficulties, and verdicts on the baseline's own answers, of a
    model that wins by length.
    """
    rng = np.random.default_rng(3)
    longer, difficulty = rng.normal(400, 300, 300), rng.normal(0, 1, 300)
    logit = -0.5 + 1.8 * np.tanh(longer / longer.std()) + 0.3 * difficulty
    wins = np.round(1 / (1 + np.exp(-(logit + rng.normal(0, 1, 300)))), 3)
    gap = rng.normal(0, 1, 600)
    gamed = np.column_stack(
        [(rng.random(600) < 1 / (1 + np.exp(gap))), gap, np.tile(difficulty, 2)]
    )
    return wins, longer, difficulty, gamed


def test_the_length_controlled_figure_is_that_of_alpaca_evals_regression(
    verbose: tuple[Floats, Floats, Floats, Floats],
) -> None:
    """Held against `LogisticRegressionCV`, called as AlpacaEval 0.6 calls it."""
    import sklearn
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GroupKFold

    wins, longer, difficulty, gamed = verbose
    own = np.column_stack([np.tanh(-longer / longer.std(ddof=1)), difficulty, np.ones(300)])
    other = np.column_stack([np.tanh(gamed[:, 1]), gamed[:, 2], np.zeros(600)])
    x, y = np.concatenate([other, own]), np.concatenate([gamed[:, 0], wins])
    weight = np.concatenate([np.full(600, 0.1), np.ones(300)])
    chance, twice = np.concatenate([y, 1 - y]), np.tile(weight, 2)

    def loss(truth: Floats, said: Floats, true_prob: Floats, true_sample_weight: Floats) -> float:
        truth = np.where(truth == 1, true_prob, 1 - true_prob)
        losses = truth * np.log(said) + (1 - truth) * np.log(1 - said)
        return -float(np.mean(losses * true_sample_weight))

    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(loss, response_method="predict_proba", greater_is_better=False)
        model = LogisticRegressionCV(
            cv=GroupKFold(5), random_state=123, solver="liblinear", fit_intercept=False,
            l1_ratios=(1,), use_legacy_attributes=False,
            scoring=scorer.set_score_request(true_sample_weight=True, true_prob=True),
        )  # fmt: skip
        model.set_fit_request(sample_weight=True)
        model.fit(
            np.tile(x, (2, 1)), np.repeat([1, 0], len(y)), sample_weight=chance * twice,
            groups=np.tile(np.arange(len(y)), 2), true_sample_weight=twice, true_prob=chance,
        )  # fmt: skip
    equal = np.column_stack([np.zeros(300), difficulty, np.ones(300)])
    expected = model.predict_proba(equal)[:, 1].mean()

    found = length_controlled(wins, longer, difficulty, gamed, FEW)
    assert found is not None
    assert found.rate.value == pytest.approx(expected, abs=5e-4)  # within rounding of a per cent
    assert found.rate.low is not None and found.rate.low < expected


def test_length_control_takes_away_what_length_gave(
    verbose: tuple[Floats, Floats, Floats, Floats],
) -> None:
    wins, longer, difficulty, _ = verbose
    found = length_controlled(wins, longer, difficulty)
    assert found is not None and found.rate.value is not None
    true = (1 / (1 + np.exp(0.5 - 0.3 * difficulty))).mean()
    assert wins.mean() > 0.6
    assert found.rate.value == pytest.approx(true, abs=0.06)
    assert found.length > 1


def test_no_length_control_where_nothing_can_be_fitted() -> None:
    longer = np.arange(10.0)
    assert length_controlled(np.ones(10), longer) is None
    assert length_controlled(np.array([1.0, 0.0, np.nan]), longer[:3]) is None


def test_style_counts_what_a_reader_sees() -> None:
    text = "# Head\n\n- one\n- **two**\n1. three\n```\n# code\n- code\n```\n__four__ 2 * 3 * 4"
    assert style_of(text) == Style(len(text), headers=1, lists=3, bold=2)


def test_a_constant_answer_that_wins_is_found() -> None:
    def battles(digests: list[bytes], win: float) -> list[Battle]:
        plain = Style(1, 0, 0, 0)
        return [
            battle(at, "m", "b", win, answers=(Answer(plain, own), Answer(plain, bytes([at]))))
            for at, own in enumerate(digests)
        ]

    same, others = [b"x"] * 30, [bytes([at]) for at in range(30)]
    found = list(suspicions(battles(same, 1.0)))
    assert [(each.code, each.subject) for each in found] == [("CONSTANT_ANSWER_WINS", "model m")]
    assert not list(suspicions(battles(same, 0.0)))
    assert not list(suspicions(battles(others, 1.0)))


PUBLISHED = {
    "alpaca-7b": (26.45962733, 1.53571147, 205, 584, 16, 396),
    "vicuna-13b": (70.43478261, 1.606968841, 566, 237, 2, 1037),
}
"""alpaca_eval_gpt4_leaderboard.csv of tatsu-lab/alpaca_eval: win rate, standard error, wins, wins of
the baseline, draws, mean length.
"""


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_win_rates_that_alpaca_eval_published(model: str, public_data: Path) -> None:
    judged = read(public_data / f"alpaca_eval/annotations/{model}.json")
    (rate,) = win_rates(judged.battles, FEW, baseline=judged.has_baseline)
    win, error, won, lost, ties, length = PUBLISHED[model]
    assert rate.rate.value == pytest.approx(win / 100, abs=1e-9)
    assert rate.standard_error == pytest.approx(error / 100, abs=1e-9)
    assert (rate.wins, rate.losses, rate.ties) == (won, lost, ties)
    assert int(rate.length or 0) == length
