"""A chart of ratios to the floor: one bar for each server in each section, with whiskers from quartile to quartile."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, NAMES, RIGHT = 780, 176, 66
BAR, GAP, HEADING, GROUP = 12, 6, 22, 20
TOP, BOTTOM = 34, 34
LONGEST = 4.0
"""A bar for a higher ratio is cut here; its number says how high."""
# Greys that are read on light and dark pages, and darker or lighter ones where the page says which it is.
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #59636e }
.title { font-size: 15px; font-weight: 600; fill: #1f2328 }
.section { font-weight: 600; fill: #1f2328 }
.ours { font-weight: 600; fill: #1f2328 }
.grid { stroke: #8c959f; stroke-opacity: .35 }
.floor { stroke: #59636e; stroke-dasharray: 3 3 }
.bar { fill: #8c959f }
.bar.ours { fill: #cf4b1f }
.whisker { stroke: #1f2328; stroke-width: 1.5 }
.cut { stroke: #1f2328; stroke-width: 1.5; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 }
  .title, .section, text.ours { fill: #f0f6fc }
  .bar { fill: #6e7681 }
  .bar.ours { fill: #f0703f }
  .floor { stroke: #9198a1 }
  .whisker, .cut { stroke: #f0f6fc }
}
"""


@dataclass
class Bar:
    """A server's ratio with its quartiles."""

    name: str
    low: float
    middle: float
    high: float


@dataclass
class Group:
    """The bars of one section."""

    title: str
    bars: list[Bar]


def draw(groups, title, description, ours=("sockeye", "sockeye-library", "sockeye without io_uring")):
    """The chart as SVG."""
    inner = sum(HEADING + GROUP + len(group.bars) * (BAR + GAP) for group in groups)
    height = TOP + inner - GROUP * bool(groups) + BOTTOM
    longest = min(LONGEST, math.ceil(max([1.0, *(bar.high for group in groups for bar in group.bars)]) * 2) / 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f"<style>{STYLE}</style>",
        label(0, 18, title, "title"),
        *numbers(longest, height),
    ]
    y = TOP
    for group in groups:
        parts.append(label(0, y + 14, group.title, "section"))
        y += HEADING
        parts += axis(longest, y - 4, y + len(group.bars) * (BAR + GAP) - 2)
        for bar in group.bars:
            parts += drawn(bar, y, longest, bar.name in ours)
            y += BAR + GAP
        y += GROUP
    return "\n".join([*parts, "</svg>", ""])


def axis(longest, top, bottom):
    """Lines at each half; the one of the floor is another."""
    for step in halves(longest):
        kind, x = "floor" if step == 1 else "grid", across(step, longest)
        yield f'<line class="{kind}" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'


def numbers(longest, height):
    """What the lines are, at the bottom."""
    for step in halves(longest):
        x = across(step, longest)
        yield label(x, height - 16, f"{step:g}", anchor="middle")
        if step == 1:
            yield label(x, height - 2, "the floor", anchor="middle")


def halves(longest):
    return [step / 2 for step in range(int(longest * 2) + 1)]


def across(ratio, longest):
    return NAMES + min(ratio, longest) / longest * (WIDTH - NAMES - RIGHT)


def drawn(bar, y, longest, ours):
    """Name, bar, whisker and number of one server."""
    kind, x, middle = (" ours" if ours else ""), across(0, longest), y + BAR / 2
    end = across(bar.middle, longest)
    yield label(NAMES - 8, y + 10, bar.name, kind.strip(), "end")
    yield f'<rect class="bar{kind}" x="{x:.1f}" y="{y}" width="{end - x:.1f}" height="{BAR}" rx="1.5"/>'
    if bar.middle > longest:
        yield f'<path class="cut" d="M{end - 8:.1f} {y + BAR + 2}l5 {-BAR - 4}m3 {BAR + 4}l5 {-BAR - 4}"/>'
        yield label(end + 10, y + 10, f"{bar.middle:.1f}", kind.strip())
        return
    low, high = across(bar.low, longest), across(bar.high, longest)
    ends = (f"M{place:.1f} {y + 3}v{BAR - 6}" for place in (low, high))
    yield f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}{"".join(ends)}"/>'
    yield label(max(high, end) + 6, y + 10, f"{bar.middle:.2f}", kind.strip())


def label(x, y, text, kind="", anchor="start"):
    named = f' class="{kind}"' if kind else ""
    anchored = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{named} x="{x:.1f}" y="{y}"{anchored}>{escape(text)}</text>'
