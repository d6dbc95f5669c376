"""Charts of a report as inline SVG, without scripts or outside files. CSS classes set the colours,
for dark mode and print.

Each chart is beside the table of its figures. Shapes or words repeat what colours show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from governance.base.text import number, share, short, visible
from governance.report.model import Compared, Curve, Edge, Entity, Metric, Node

WIDTH = 680


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def scores(metric: Metric) -> Markup:
    """Means as marks with their confidence intervals as lines, one row per model, and the
    thresholds.
    """
    rows = [score for score in metric.scores if score.mean is not None]
    if not rows:
        return Markup("")
    edges = [
        value
        for score in rows
        for value in (score.low, score.mean, score.high)
        if value is not None
    ]
    edges += [bound for bound in (metric.at_least, metric.at_most) if bound is not None]
    low, high = (
        (0.0, 1.0) if min(edges) >= 0 and max(edges) <= 1 else _padded(min(edges), max(edges))
    )
    scale = Scale(low, high, 150, WIDTH - 70)
    bottom = 14 + 26 * len(rows)
    parts = [_axis(scale, bottom), _bounds(metric, scale, bottom)]
    for index, score in enumerate(rows):
        y = 24 + 26 * index
        ours = score.role == "this version"
        parts.append(_text(140, y + 4, score.model, "end", "strong" if ours else ""))
        if score.low is not None and score.high is not None:
            parts.append(_line(scale(score.low), y, scale(score.high), y, "whisker"))
        parts.append(_mark(scale(score.mean or 0.0), y, ours))
        parts.append(_text(WIDTH - 60, y + 4, share(score.mean)))
    title = (
        f"{metric.name} on {metric.suite}: mean and confidence interval per model; the diamond is"
        " this version"
    )
    return _svg(bottom + 26, title, parts)


SLICES = 16
"""The most slices in a chart: the worst ones."""


def slices(metric: Metric) -> Markup:
    """This version's mean and interval by slice, the worst first; a line marks the mean of all."""
    rows = [row for row in metric.slices[:SLICES] if row.low is not None and row.high is not None]
    if len(rows) < 2:
        return Markup("")
    ends = [end for row in rows for end in (row.low or 0.0, row.high or 0.0)]
    low, high = (0.0, 1.0) if min(ends) >= 0 and max(ends) <= 1 else _padded(min(ends), max(ends))
    scale, bottom = Scale(low, high, 230, WIDTH - 120), 10 + 18 * len(rows)
    parts = [_axis(scale, bottom)]
    own = [score.mean for score in metric.scores if score.role == "this version"]
    if own and own[0] is not None:
        parts.append(_line(scale(own[0]), 4, scale(own[0]), bottom, "bound"))
    for index, row in enumerate(rows):
        y = 16 + 18 * index
        parts.append(_text(222, y + 4, _fit(f"{row.by}={row.label}", 34), "end", "small"))
        parts.append(_line(scale(row.low or 0.0), y, scale(row.high or 0.0), y, "whisker"))
        parts.append(_mark(scale(row.mean), y, False))
        parts.append(_text(WIDTH - 110, y + 4, f"{share(row.mean)}, n={row.n}", "start", "small"))
    left = len(metric.slices) - len(rows)
    title = f"{metric.name} by slice: mean and interval; the dashed line is the mean of all items"
    return _svg(bottom + 26, title + (f"; {left} more in the table" if left else ""), parts)


def curve(line: Curve) -> Markup:
    """One signal over the steps of training, small."""
    if len(line.points) < 2:
        return Markup("")
    xs, ys = [point[0] for point in line.points], [point[1] for point in line.points]
    low, high = _padded(min(ys), max(ys))
    width, height = 210, 96
    x, y = Scale(min(xs), max(xs), 6, width - 6), Scale(low, high, height - 22, 20)
    path = " ".join(
        f"{'L' if i else 'M'}{x(a):.1f} {y(b):.1f}" for i, (a, b) in enumerate(line.points)
    )
    parts = [
        _text(6, 12, _fit(line.name, 26), "start", "strong"),
        _line(6, height - 18, width - 6, height - 18, "axis"),
        Markup('<path class="curve" d="{}"/>').format(path),
        _text(6, height - 5, f"step {number(int(xs[0]))}", "start", "small"),
        _text(width / 2, height - 5, f"last {number(ys[-1])}", "middle", "small"),
        _text(width - 6, height - 5, f"{number(int(xs[-1]))}", "end", "small"),
    ]
    title = (
        f"{line.name} from {number(ys[0])} at step {xs[0]:g} to {number(ys[-1])} at step {xs[-1]:g}"
    )
    return _svg(height, title, parts, width)


def personal_data(entities: Sequence[Entity]) -> Markup:
    """Occurrences before treatment (outlined) and after it (filled), one row per type."""
    rows = [entity for entity in entities if entity.found or entity.remaining]
    if not rows:
        return Markup("")
    most = max(max(entity.found, entity.remaining) for entity in rows)
    scale = Scale(0, most, 0, WIDTH - 310)
    parts = []
    for index, entity in enumerate(rows):
        y = 6 + 24 * index
        parts.append(_text(180, y + 12, entity.name, "end"))
        parts.append(_box(190, y + 1, max(1.5, scale(entity.found)), 14, "before"))
        if entity.remaining:
            parts.append(_box(190, y + 4, max(1.5, scale(entity.remaining)), 8, "after"))
        label = f"{entity.found:,} found, {entity.remaining:,} remain"
        parts.append(_text(200 + scale(entity.found), y + 12, label, "start", "small"))
    title = (
        "Personal data by type: found before treatment (outline) and remaining in what was written"
        " (filled)"
    )
    return _svg(12 + 24 * len(rows), title, parts)


MARKS = (("changed", "changed"), ("new", "new"), ("gone", "gone"), ("same", "the same"))
"""(Field of `Compared`, word), in drawing order."""
CELL = 13


def changes(groups: Sequence[Compared]) -> Markup:
    """One square per compared property, one row per group: filled, cross, ring or outline."""
    rows = [group for group in groups if any(getattr(group, name) for name, _ in MARKS)]
    if not rows:
        return Markup("")
    parts = []
    for index, group in enumerate(rows):
        y = 8 + 24 * index
        parts.append(_text(110, y + 11, group.group, "end"))
        drawn = [name for name, _ in MARKS for _ in range(getattr(group, name))][:MOST]
        parts += [_thing(name, 120 + CELL * place, y) for place, name in enumerate(drawn)]
        counts = ", ".join(
            f"{getattr(group, name)} {word}" for name, word in MARKS if getattr(group, name)
        )
        parts.append(_text(128 + CELL * len(drawn), y + 11, counts, "start", "small"))
    title = (
        "Compared with the version before: filled squares changed, crosses new, rings gone,"
        " outlines the same"
    )
    return _svg(14 + 24 * len(rows), title, parts)


MOST = 24
"""The most squares in one row."""


def _thing(name: str, x: float, y: float) -> Markup:
    middle, side = y + 7.5, CELL - 4
    if name == "new":
        arm = Markup('<path class="fresh" d="M{} {}v{}M{} {}h{}"/>')
        return arm.format(
            f"{x + side / 2:.1f}",
            f"{middle - side / 2:.1f}",
            side,
            f"{x:.1f}",
            f"{middle:.1f}",
            side,
        )
    if name == "gone":
        return Markup('<circle class="before" cx="{}" cy="{}" r="{}"/>').format(
            f"{x + side / 2:.1f}", f"{middle:.1f}", f"{side / 2:.1f}"
        )
    return _box(x, middle - side / 2, side, side, "moved" if name == "changed" else "before faint")


BOX, GAP_X, GAP_Y, HEIGHT, LANE_GAP = 126, 26, 12, 46, 34


def lineage(nodes: Sequence[Node], edges: Sequence[Edge]) -> Markup:
    """The lineage: models from left to right, datasets below the stage that uses them, sources
    below those.
    """
    if not nodes:
        return Markup("")
    place, width, height = _places(nodes)
    parts = [
        _edge(edge, place, nodes) for edge in edges if edge.start in place and edge.end in place
    ]
    parts += [_node(node, *place[node.id]) for node in nodes]
    title = (
        "What this version was made from: models left to right, below each stage its datasets and"
        " their sources"
    )
    return _svg(height, title, parts, width, "group")  # no image: its boxes are links


def _places(nodes: Sequence[Node]) -> tuple[dict[str, tuple[float, float]], float, float]:
    """Upper left corner of each box; width and height of the drawing."""
    place: dict[str, tuple[float, float]] = {}
    top = 6.0
    for lane in sorted({node.lane for node in nodes}):
        rows: dict[int, int] = {}
        for node in (node for node in nodes if node.lane == lane):
            row = rows.get(node.column, 0)
            rows[node.column] = row + 1
            place[node.id] = (6 + node.column * (BOX + GAP_X), top + row * (HEIGHT + GAP_Y))
        top += max(rows.values()) * (HEIGHT + GAP_Y) - GAP_Y + LANE_GAP
    width = 12 + (max(node.column for node in nodes) + 1) * (BOX + GAP_X) - GAP_X
    return place, width, top - LANE_GAP + 6


def _edge(edge: Edge, place: dict[str, tuple[float, float]], nodes: Sequence[Node]) -> Markup:
    lanes = {node.id: node.lane for node in nodes}
    (x1, y1), (x2, y2) = place[edge.start], place[edge.end]
    if lanes[edge.start] == lanes[edge.end]:
        x1, y1, y2 = x1 + BOX, y1 + HEIGHT / 2, y2 + HEIGHT / 2
        bend = max(GAP_X / 2, (x2 - x1) / 2)
        path = (
            f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f}"
            f" {y2:.1f}"
        )
    else:
        x1, x2, y2 = x1 + BOX / 2, x2 + BOX / 2, y2 + HEIGHT
        path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 - 20:.1f} {x2:.1f} {y2 + 20:.1f} {x2:.1f} {y2:.1f}"
    kind = "edge other" if edge.role in ("scorer", "evaluation") else "edge"
    return Markup('<path class="{}" d="{}"><title>{}</title></path>').format(
        kind, path, visible(edge.role)
    )


def _node(node: Node, x: float, y: float) -> Markup:
    lines = [
        (visible(node.label), "strong"),
        (visible(node.note), "small"),
        (short(node.digest), "small mono"),
    ]
    inner = Markup("").join(
        Markup('<text x="{}" y="{}" class="{}">{}</text>').format(
            f"{x + 7:.1f}",
            f"{y + 15 + 13 * i:.1f}",
            kind,
            _fit(text, 15 if kind == "strong" else 21),
        )
        for i, (text, kind) in enumerate(lines)
    )
    box = Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="3"/>').format(
        f"{x:.1f}", f"{y:.1f}", BOX, HEIGHT
    )
    drawn = Markup('<g class="node {}"><title>{}</title>{}{}</g>').format(
        node.kind, f"{node.kind} {visible(node.label)}: {node.digest or 'no digest'}", box, inner
    )
    return (
        Markup('<a href="#E{}">{}</a>').format(node.evidence[0], drawn) if node.evidence else drawn
    )


def _fit(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _axis(scale: Scale, y: float) -> Markup:
    ticks = [scale.low + (scale.high - scale.low) * i / 4 for i in range(5)]
    lines = [_line(scale.start, y, scale.end, y, "axis")]
    lines += [_line(scale(tick), 8, scale(tick), y, "grid") for tick in ticks]
    lines += [
        _text(scale(tick), y + 14, number(round(tick, 4)), "middle", "small") for tick in ticks
    ]
    return Markup("").join(lines)


def _bounds(metric: Metric, scale: Scale, y: float) -> Markup:
    named = (("at least", metric.at_least), ("at most", metric.at_most))
    drawn = [
        _line(scale(bound), 4, scale(bound), y, "bound")
        + _text(scale(bound) + 4, 11, f"{word} {bound:g}", "start", "small")
        for word, bound in named
        if bound is not None
    ]
    return Markup("").join(drawn)


def _mark(x: float, y: float, ours: bool) -> Markup:
    if ours:
        return Markup('<path class="mark ours" d="M{} {}l6 6l-6 6l-6 -6z"/>').format(
            f"{x:.1f}", f"{y - 6:.1f}"
        )
    return Markup('<circle class="mark" cx="{}" cy="{}" r="4"/>').format(f"{x:.1f}", f"{y:.1f}")


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = (high - low or abs(high) or 1.0) * 0.06
    return low - pad, high + pad


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        f"{x:.1f}", f"{y:.1f}", anchor, kind, visible(text)
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(
        f"{x1:.1f}", f"{y1:.1f}", f"{x2:.1f}", f"{y2:.1f}", kind
    )


def _box(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>').format(
        f"{x:.1f}", f"{y:.1f}", f"{width:.1f}", f"{height:.1f}", kind
    )


def _svg(
    height: float, title: str, parts: Sequence[Markup], width: float = WIDTH, role: str = "img"
) -> Markup:
    """A figure that scales with the page; its title is what a screen reader says."""
    return Markup(
        '<svg role="{}" viewBox="0 0 {} {}" style="max-width:{}px" aria-label="{}">{}</svg>'
    ).format(
        role,
        f"{width:.0f}",
        f"{height:.0f}",
        f"{width:.0f}",
        escape(visible(title)),
        Markup("").join(parts),
    )
