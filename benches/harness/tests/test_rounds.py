"""What is done with servers in rounds, with servers that are none."""

import os
import unittest
from types import SimpleNamespace
from unittest import mock

from harness import rounds
from harness.sections import Attack, Column, Memory, Section
from harness.servers import Failed

NAMES = ("floor", "sockeye", "late", "never")
OPTIONS = SimpleNamespace(rounds=6, seconds=0.1, connections=5, quick=False, wants=lambda name: name != "unwanted")


class FakeKit:
    """Starts everything but `never`."""

    extra = {}

    def __init__(self):
        self.running = []

    def start(self, name, mode):
        if name == "never":
            raise Failed(f"does not start in {mode}")
        self.running.append(name)
        server = mock.MagicMock(pid=os.getpid(), stop=lambda: self.running.remove(name))
        server.name = name
        server.__enter__.return_value = server
        server.__exit__.side_effect = lambda *_: server.stop()
        return server


class Interleaved(unittest.TestCase):
    def setUp(self):
        self.section = Section("s", "t", "echo", ("echo",), "ns", "ns", (*NAMES, "unwanted"))
        self.loads, self.kit = [], FakeKit()

    def load(self, server, *arguments):
        self.loads.append((server.name, arguments))
        if server.name == "late" and sum(name == "late" for name, _ in self.loads) == 3:
            raise Failed("wrong reply")
        return {"ns": 1, "delivery_bytes": 150}

    def measured(self):
        with mock.patch.object(rounds, "load", self.load):
            return rounds.measure(self.section, self.kit, OPTIONS)

    def test_whoever_fails_is_out_and_the_others_go_on(self):
        result = self.measured()
        self.assertEqual(result["servers"], list(NAMES))
        self.assertEqual(result["failures"], {"never": "does not start in echo", "late": "wrong reply"})
        self.assertEqual([{"floor", "sockeye"} <= set(one) for one in result["rounds"]], [True] * 6)
        self.assertEqual(sum("late" in one for one in result["rounds"]), 2)

    def test_all_are_stopped(self):
        self.measured()
        self.assertEqual(self.kit.running, [])

    def test_no_server_always_follows_the_same(self):
        self.section = Section("s", "t", "echo", ("echo",), "ns", "ns", ("floor", "sockeye", "ws", "bun"))
        self.measured()
        order = [name for name, _ in self.loads]
        before = {order[index - 1] for index, name in enumerate(order) if name == "sockeye" and index % 4}
        self.assertGreater(len(before), 1)

    def test_the_floor_sends_as_much_as_a_delivery_of_ours(self):
        self.section = Section(
            "s", "t", "broadcast", ("fanout", "--payload", "128"), "ns", "ns", ("floor", "sockeye", "bun")
        )
        self.measured()
        told = {name: arguments for name, arguments in self.loads if "--warm-up" in arguments and "0" not in arguments}
        self.assertIn("--raw=150", told["floor"])
        self.assertIn("--broadcast", told["bun"])
        self.assertNotIn("--broadcast", told["sockeye"])


class Once(unittest.TestCase):
    def test_memory_is_measured_once_and_failures_are_kept(self):
        section = Memory("m", "t", "idle", ("idle",), NAMES, (Column("a", "a"),), 10)
        with mock.patch.object(rounds, "load", lambda server, *arguments: {"a": len(arguments)}):
            result = rounds.measure(section, FakeKit(), OPTIONS)
        self.assertEqual(result["rounds"], [{"floor": {"a": 4}, "sockeye": {"a": 3}, "late": {"a": 3}}])
        self.assertEqual(result["failures"], {"never": "does not start in idle"})

    def test_half_an_attack_is_none(self):
        def load(server, _, kind):
            if (server.name, kind) == ("late", "pings"):
                raise Failed("gone")
            return {"kind": kind}

        with mock.patch.object(rounds, "load", load):
            result = rounds.measure(Attack("a", "t", ("sockeye", "late")), FakeKit(), OPTIONS)
        self.assertEqual(list(result["rounds"][0]), ["sockeye"])
        self.assertEqual(result["failures"], {"late": "gone"})
