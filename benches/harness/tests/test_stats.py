"""Medians, quartiles, ratios, and the order of servers in rounds."""

import unittest
from collections import Counter
from itertools import pairwise

from harness.stats import best, column, field, median, orders, quartiles, ratios


class Quartiles(unittest.TestCase):
    def test_of_five(self):
        self.assertEqual(quartiles([5, 1, 4, 2, 3]), (2, 3, 4))

    def test_between_values(self):
        self.assertEqual(quartiles([1, 2, 3, 4]), (1.75, 2.5, 3.25))

    def test_of_one(self):
        self.assertEqual(quartiles([7]), (7, 7, 7))


class Rounds(unittest.TestCase):
    rounds = [
        {"floor": {"ns": 100}, "ours": {"ns": 110}, "theirs": {"ns": 90}},
        {"floor": {"ns": 200}, "ours": {"ns": 210}, "theirs": {"ns": 500}},
        {"floor": {"ns": 100}, "theirs": {"ns": 400}},
        {"ours": {"ns": 900}},
    ]

    def test_ratios_are_of_one_round(self):
        self.assertEqual(ratios(self.rounds, "ours", "floor", "ns"), [1.1, 1.05])

    def test_median_of_the_rounds_there_are(self):
        self.assertEqual(median(self.rounds, "ours", "ns"), 210)
        self.assertIsNone(median(self.rounds, "nobody", "ns"))

    def test_best_is_the_lowest_median(self):
        self.assertEqual(best(self.rounds, ["ours", "theirs", "nobody"], "ns"), "ours")
        self.assertIsNone(best(self.rounds, ["nobody"], "ns"))

    def test_no_ratio_to_nothing(self):
        rounds = [{"a": {"ns": 1}, "b": {"ns": 0}}, {"a": {"ns": None}, "b": {"ns": 1}}]
        self.assertEqual(ratios(rounds, "a", "b", "ns"), [])

    def test_nested_fields(self):
        self.assertEqual(field({"header": {"idle": {"private": 5}}}, "header.idle.private"), 5)
        self.assertIsNone(field({"header": 3}, "header.idle"))
        self.assertEqual(column([{"a": {"x": {"y": 1}}}, {}], "a", "x.y"), [1])


class Orders(unittest.TestCase):
    def test_each_follows_each_other_equally_often(self):
        for count in range(2, 12):
            names = [f"server {number}" for number in range(count)]
            cycle = orders(names)
            for order in cycle:
                self.assertEqual(sorted(order), sorted(names))
            followed = Counter(pair for order in cycle for pair in pairwise(order))
            self.assertEqual(len(followed), count * (count - 1), f"{count} servers")
            self.assertEqual(len(set(followed.values())), 1, f"{count} servers")

    def test_one_and_none(self):
        self.assertEqual(orders([]), [])
        self.assertEqual(orders(["alone"])[0], ["alone"])
