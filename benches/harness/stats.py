"""Numbers from rounds. A round is what each server gave in it: `{server: {field: value}}`."""

import statistics


def quartiles(values):
    """The lower quartile, the median and the upper quartile; of one value, three times that value."""
    return tuple(statistics.quantiles(values, n=4, method="inclusive")) if len(values) > 1 else tuple(values) * 3


def field(measured, path):
    """The value at `a.b` of nested objects; `None` where there is none."""
    for key in path.split("."):
        measured = measured.get(key) if isinstance(measured, dict) else None
    return measured


def column(rounds, server, path):
    """What one server gave in the rounds that it completed."""
    values = (field(measured.get(server), path) for measured in rounds)
    return [value for value in values if value is not None]


def median(rounds, server, path):
    """`None` when no round has a value."""
    values = column(rounds, server, path)
    return statistics.median(values) if values else None


def ratios(rounds, server, to, path):
    """Both in the same round, one divided by the other; so that a machine that drifts is no matter."""
    pairs = ((field(measured.get(server), path), field(measured.get(to), path)) for measured in rounds)
    return [one / other for one, other in pairs if one is not None and other]


def best(rounds, servers, path):
    """The server with the lowest median, or `None` when none of them was measured."""
    medians = {server: median(rounds, server, path) for server in servers}
    found = [server for server in servers if medians[server] is not None]
    return min(found, key=medians.get) if found else None


def orders(names):
    """Orders for successive rounds (Williams): in a cycle of them each server follows each other one equally often."""
    count = len(names)
    zigzag = [place // 2 if place % 2 == 0 else count - 1 - place // 2 for place in range(count)]
    rows = [[names[(step + shift) % count] for step in zigzag] for shift in range(count)]
    return rows if count % 2 == 0 else [order for row in rows for order in (row, row[::-1])]
