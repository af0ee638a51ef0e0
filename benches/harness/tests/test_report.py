"""Tables and the chart, from made-up rounds."""

import unittest
from types import SimpleNamespace
from xml.etree import ElementTree

from harness import chart, report, tables
from harness.rounds import extra
from harness.sections import SECTIONS, Attack, Column, Goal, Memory, Section

SECTION = Section(
    "echo", "an echo", "echo", ("echo",), "ns", "ns/message", ("floor", "sockeye", "one", "two", "gone"),
    (Goal(1.05, "floor"), Goal(0.9, ("one", "two", "gone"))), (Column("busy %", "busy", 100),),
)
RESULT = {
    "servers": list(SECTION.servers),
    "rounds": [
        {"floor": {"ns": 100, "busy": 0.5}, "sockeye": {"ns": 112}, "one": {"ns": 130}, "two": {"ns": 125}},
        {"floor": {"ns": 200, "busy": 0.7}, "sockeye": {"ns": 208}, "one": {"ns": 260}, "two": {"ns": 240}},
    ],
    "failures": {"gone": "does not build: <error> & more"},
    "foreign": 0.2,
    "seconds": 0.3,
}


class Tables(unittest.TestCase):
    made = tables.table(SECTION, RESULT)

    def test_cost_ratio_and_columns(self):
        self.assertEqual(self.made.rows[0], ["floor", "150", "1.000", "1.000–1.000", "60"])
        self.assertEqual(self.made.rows[1], ["sockeye", "160", "1.080", "1.060–1.100", ""])

    def test_a_failure_has_its_row_and_reason(self):
        self.assertEqual(self.made.rows[-1], ["gone", "failed: does not build: <error> & more", "", "", ""])

    def test_goals(self):
        floor, peers = self.made.verdicts
        self.assertEqual((floor.what, floor.word, floor.measured), ("to the floor", "missed", "1.080 (1.060–1.100)"))
        self.assertEqual((peers.what, peers.word), ("to the best of Rust, two", "met"))

    def test_a_machine_that_was_not_quiet_is_noted(self):
        self.assertEqual(self.made.notes, ["The machine was not quiet: others took 20% of it."])

    def test_no_round_came_off(self):
        failures = dict.fromkeys(SECTION.servers, "no")
        made = tables.table(SECTION, RESULT | {"rounds": [{}], "failures": failures})
        self.assertEqual([row[1] for row in made.rows], ["failed: no"] * 5)
        self.assertEqual(made.verdicts, [])

    def test_memory_and_attack(self):
        section = Memory("idle", "idle", "idle", ("idle",), ("sockeye",), (Column("a", "x.y"), Column("b", "z")), 10, connections=5)
        result = {"servers": ["sockeye"], "rounds": [{"sockeye": {"x": {"y": 11}}}], "failures": {}, "connections": 5}
        made = tables.table(section, result)
        self.assertEqual(made.rows, [["sockeye", "11", ""]])
        self.assertEqual((made.verdicts[0].word, made.verdicts[0].measured), ("missed", "11"))
        self.assertEqual(tables.table(section, result | {"connections": 4}).verdicts, [], "too few to judge by")
        result["rounds"] = [{"sockeye": {"pings": {"sent": 1234}}}]
        made = tables.table(Attack("attack", "attack", ("sockeye",)), result)
        self.assertEqual(made.rows, [["sockeye", "", "", "", "1,234", "", ""]])


class Reports(unittest.TestCase):
    def test_markdown_has_as_many_cells_in_each_row(self):
        text = report.markdown(tables.table(SECTION, RESULT))
        rows = [line for line in text.splitlines() if line.startswith("|")]
        self.assertEqual({line.count("|") for line in rows}, {6})
        self.assertIn("| **sockeye** | **160** | **1.080** |", text)

    def test_a_pipe_does_not_end_a_cell(self):
        self.assertEqual(report.pipes(["a|b", "c"]), "| a\\|b | c |")

    def test_the_terminal_says_goals_and_reasons(self):
        text = report.terminal(tables.table(SECTION, RESULT))
        self.assertIn("goal 1.05 sockeye to the floor: missed, 1.080 (1.060–1.100)", text)
        self.assertIn("failed: does not build", text)
        self.assertLess(max(len(line) for line in text.splitlines()), 100)

    def test_goals_are_gathered(self):
        made = tables.goals([tables.table(SECTION, RESULT)])
        self.assertEqual([row[0] for row in made.rows], ["echo", "echo"])
        self.assertIn("| echo | sockeye to the floor | 1.080 (1.060–1.100) | 1.05 | missed |", report.markdown(made))


class Charts(unittest.TestCase):
    groups = [
        chart.Group("small & <quick>", [chart.Bar("sockeye", 1.04, 1.05, 1.06), chart.Bar("slow", 8.0, 9.5, 11.0)]),
        chart.Group("large", [chart.Bar("other", 1.2, 1.3, 1.4)]),
    ]

    def setUp(self):
        self.root = ElementTree.fromstring(chart.draw(self.groups, "title & more", "what <it> shows"))
        self.tag = "{http://www.w3.org/2000/svg}"

    def test_it_says_what_it_is(self):
        self.assertEqual(self.root.find(f"{self.tag}title").text, "title & more")
        self.assertEqual(self.root.find(f"{self.tag}desc").text, "what <it> shows")
        self.assertEqual(self.root.get("role"), "img")

    def test_a_bar_for_each_server_inside_the_picture(self):
        bars = self.root.findall(f"{self.tag}rect")
        self.assertEqual(len(bars), 3)
        for bar in bars:
            self.assertLessEqual(float(bar.get("x")) + float(bar.get("width")), chart.WIDTH)
            self.assertLessEqual(float(bar.get("y")), float(self.root.get("height")))

    def test_lengths_are_ratios_and_the_longest_is_cut(self):
        ours, slow, other = (float(bar.get("width")) for bar in self.root.findall(f"{self.tag}rect"))
        self.assertAlmostEqual(other / ours, 1.3 / 1.05, delta=0.01)
        self.assertAlmostEqual(slow / ours, chart.LONGEST / 1.05, delta=0.01)
        self.assertIn("9.5", [text.text for text in self.root.findall(f"{self.tag}text")])

    def test_nothing_measured(self):
        ElementTree.fromstring(chart.draw([], "t", "d"))


class Sections(unittest.TestCase):
    def test_names_are_unique_and_goals_are_of_servers_that_take_part(self):
        self.assertEqual(len({section.name for section in SECTIONS}), len(SECTIONS))
        for section in SECTIONS:
            for goal in getattr(section, "goals", ()):
                to = {goal.to} if isinstance(goal.to, str) else set(goal.to)
                self.assertLessEqual({goal.of} | to, set(section.servers), section.name)
            self.assertIn(getattr(section, "base", section.servers[0]), section.servers)

    def test_what_the_load_generator_is_told(self):
        fanout = SimpleNamespace(load=("fanout",))
        self.assertEqual(extra(fanout, "bun"), ["--broadcast"])
        self.assertEqual(extra(fanout, "sockeye"), [])
        self.assertEqual(extra(SimpleNamespace(load=("echo",)), "floor again"), ["--raw"])
        self.assertEqual(extra(SimpleNamespace(load=("echo",)), "ws"), [])
