"""Tables for the terminal and as Markdown."""

LEFT = {"server", "section", "what", "version", "settings", ""}


def terminal(table):
    """Aligned columns; a reason for failure runs over them."""
    lines = ["", f"{table.name}: {table.title}" if table.name != table.title else table.name]
    measured = [row for row in table.rows if not spans(row, table)]
    widths = [max(len(cell) for cell in cells) for cells in zip(table.headings, *measured, strict=True)]
    widths[0] = max([widths[0], *(len(row[0]) for row in table.rows)])
    for row in [table.headings, *table.rows]:
        if spans(row, table):
            lines.append(f"  {row[0]:{widths[0]}}  {row[1]}")
            continue
        cells = (
            f"{cell:{'<' if heading in LEFT else '>'}{width}}"
            for cell, heading, width in zip(row, table.headings, widths, strict=True)
        )
        lines.append(f"  {'  '.join(cells)}".rstrip())
    lines += [f"  goal {one.goal} {one.whose}: {one.word}, {one.measured}" for one in table.verdicts if table.rows]
    return "\n".join([*lines, *(f"  NOTE {note}" for note in table.notes)])


def spans(row, table):
    """Whether the row is a name and a reason."""
    return len(table.headings) > 2 and row[1] != "" and not any(row[2:])


def markdown(table):
    """A table with its title; as it stands it goes into a document."""
    aligned = ("---" if heading in LEFT else "---:" for heading in table.headings)
    lines = [f"**{table.title[0].upper()}{table.title[1:]}**", ""]
    lines += [pipes(table.headings), pipes(aligned), *(pipes(emphasized(row)) for row in table.rows)]
    if table.verdicts:
        lines += ["", *(f"- {one.whose}: {one.measured}, goal {one.goal}: {one.word}" for one in table.verdicts)]
    if table.notes:
        lines += ["", *(f"*{note}*" for note in table.notes)]
    return "\n".join([*lines, ""])


def pipes(cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def emphasized(row):
    return [f"**{cell}**" if cell else "" for cell in row] if row[0].startswith("sockeye") and len(row) > 3 else row


def document(machine, day, tables):
    """All tables."""
    head = f"Measured by `benches/run` on {machine}, {day}. Time is CPU time of the server's process."
    return "\n".join([head, "", *(markdown(table) for table in tables if table.rows)])
