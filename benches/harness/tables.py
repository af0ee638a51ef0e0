"""From rounds to tables: what is shown is text here, whatever it is written with later."""

from dataclasses import dataclass, field as attribute

from .machine import QUIET
from .sections import FLOOR, SOCKEYE, Attack, Memory
from .stats import best, column, field, median, quartiles, ratios


@dataclass
class Verdict:
    """A goal, and what was measured."""

    section: str
    what: str
    value: float
    limit: float
    spread: tuple[float, float] | None = None
    digits: int = 3
    of: str = SOCKEYE

    @property
    def whose(self):
        return f"{self.of} {self.what}"

    @property
    def met(self):
        return self.value <= self.limit

    @property
    def measured(self):
        text = f"{self.value:,.{self.digits}f}"
        return text + (f" ({between(*self.spread, self.digits)})" if self.spread else "")

    @property
    def goal(self):
        return f"{self.limit:,.{min(self.digits, 2)}f}"

    @property
    def word(self):
        within = self.spread and self.spread[0] <= self.limit <= self.spread[1]
        return ("met" if self.met else "missed") + (", within its spread" if within else "")


@dataclass
class Table:
    """A heading, rows of cells, and what is to be said under them."""

    name: str
    title: str
    headings: list[str]
    rows: list[list[str]]
    verdicts: list[Verdict] = attribute(default_factory=list)
    notes: list[str] = attribute(default_factory=list)


def between(low, high, digits):
    return f"{low:.{digits}f}–{high:.{digits}f}"


def number(value, digits=0):
    return "" if value is None else f"{value:,.{digits}f}"


def table(section, result):
    """The table of one section and what it gave."""
    if isinstance(section, Attack):
        made = attacks(section, result)
    elif isinstance(section, Memory):
        made = bytes_each(section, result)
    else:
        made = costs(section, result)
    width = len(made.headings)
    for name in result["servers"]:
        if name in result["failures"]:
            why = result["failures"][name]
            shown = why if why.startswith("not measured") else f"failed: {why}"
            made.rows.append([name, shown, *[""] * (width - 2)])
    if result.get("foreign", 0) > QUIET:
        made.notes.append(f"The machine was not quiet: others took {result['foreign']:.0%} of it.")
    return made


def costs(section, result):
    """What a message, a delivery or a handshake costs, and its ratio to the base in the same round."""
    rounds = result["rounds"]
    base = f"the {section.base}" if section.base == FLOOR else section.base
    made = Table(
        section.name,
        f"{section.title}; {len(rounds)} rounds of {result['seconds']:g} s",
        ["server", section.heading, f"to {base}", "quartiles", *(one.heading for one in section.columns)],
        [],
    )
    for name in alive(result):
        low, middle, high = spread(rounds, name, section.base, section.cost)
        shown = [number(middle, 3), "" if middle is None else between(low, high, 3)]
        beside = [number(scaled(rounds, name, one), one.digits) for one in section.columns]
        made.rows.append([name, number(median(rounds, name, section.cost)), *shown, *beside])
    for goal in section.goals:
        several = not isinstance(goal.to, str)
        to = best(rounds, [name for name in goal.to if name in alive(result)], section.cost) if several else goal.to
        low, middle, high = spread(rounds, goal.of, to, section.cost)
        if middle is not None:
            what = f"to the best of Rust, {to}" if several else f"to {'the ' if to == 'floor' else ''}{to}"
            made.verdicts.append(Verdict(section.name, what, middle, goal.limit, (low, high), of=goal.of))
    return made


def alive(result):
    return [name for name in result["servers"] if name not in result["failures"]]


def spread(rounds, name, to, path):
    """Quartiles of the ratios, or nothing where there are none."""
    found = ratios(rounds, name, to, path)
    return quartiles(found) if found else (None, None, None)


def scaled(rounds, name, one):
    middle = median(rounds, name, one.path)
    return None if middle is None else middle * one.scale


def bytes_each(section, result):
    rounds = result["rounds"]
    headings = ["server", *(one.heading for one in section.columns)]
    made = Table(section.name, f"{section.title}; {result['connections']:,} connections", headings, [])
    for name in alive(result):
        made.rows.append([name, *(number(scaled(rounds, name, one), one.digits) for one in section.columns)])
    for name in section.of if result["connections"] >= section.connections else ():
        for judged in column(rounds, name, section.columns[-2].path):
            what = f"bytes each, {section.columns[-2].heading}"
            made.verdicts.append(Verdict(section.name, what, judged, section.limit, digits=0, of=name))
    return made


def attacks(section, result):
    columns = (
        ("idle, each", "header.idle_each.private"),
        ("announced 16 MiB, each more", "header.header_each.private"),
        ("refused", "header.refused"),
        ("pings taken", "pings.sent"),
        ("peak", "pings.peak.private"),
        ("at rest", "pings.settled.private"),
    )
    made = Table(section.name, section.title, ["server", *(heading for heading, _ in columns)], [])
    (measured,) = result["rounds"]
    for name in result["servers"]:
        if name in measured:
            made.rows.append([name, *(number(field(measured[name], path)) for _, path in columns)])
    return made


def goals(tables):
    """All goals in one table."""
    verdicts = [verdict for one in tables for verdict in one.verdicts]
    rows = [[one.section, one.whose, one.measured, one.goal, one.word] for one in verdicts]
    return Table("goals", "goals", ["section", "what", "measured (quartiles)", "goal", ""], rows)


def contestants(names, versions, settings):
    """Who took part: version and settings."""
    rows = [[name, versions.get(name, ""), settings.get(name, "from the command line")] for name in names]
    return Table("servers", "servers", ["server", "version", "settings"], rows)
