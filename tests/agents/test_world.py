"""A world is closed, is shared by those who join it, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

WORLD = str(Path(__file__).resolve().parent / "world")


@unittest.skipUnless(sys.platform == "linux", "worlds need Linux")
class World(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="loomd-", dir="/var/tmp")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        argv = [sys.executable, WORLD, "--dir", self.dir, "hold"]
        self.holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end)
        self.world: dict[str, Any] = json.loads(self.holder.stdout.readline())

    def end(self) -> None:
        self.holder.communicate(timeout=20)

    def inside(self, *argv: str, options: tuple[str, ...] = ()) -> str:
        argv = (sys.executable, WORLD, "--dir", self.dir, *options, "--", *argv)
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=20, env={"PATH": "/usr/bin:/bin", "SECRET": "x"}).stdout

    def running(self) -> list[Any]:
        argv = [sys.executable, WORLD, "--dir", self.dir, "ps"]
        lines = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=20).stdout.splitlines()
        return [json.loads(line)["argv"] for line in lines]

    def command_line(self, pid: int) -> bytes:
        """The command line of a process; empty if it has ended, whether it is reaped or not."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return b""

    def test_it_is_closed(self) -> None:
        seen = dict(line.split("=", 1) for line in self.inside("env", options=("--env", "MORE=a=b")).splitlines())
        self.assertEqual((seen["HOME"], seen["MORE"]), (f"{self.dir}/home", "a=b"))
        self.assertNotIn("SECRET", seen)
        self.assertEqual(self.inside("pwd").strip(), f"{self.dir}/work")
        if self.world["network"] != "none":
            links = self.inside("cat", "/proc/net/dev").splitlines()[2:]
            self.assertEqual([link.split(":")[0].strip() for link in links], ["lo"])

    def test_those_who_join_reach_the_model_of_the_first(self) -> None:
        script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{self.world['port']}/v1/models').status)"
        self.assertEqual(self.inside(sys.executable, "-c", script).strip(), "200")
        self.assertEqual(json.loads(Path(self.dir, "model.jsonl").read_text())["path"], "/v1/models")

    def test_what_runs_in_it_is_seen_and_ended(self) -> None:
        # One process has lost the variable, and is found by its network.
        strays = [["sleep", "1000"]]
        start = "setsid sleep 1000 >&- 2>&- <&- &"
        if self.world["network"] != "none":
            start += "env -i setsid sleep 2000 >&- 2>&- <&- &"
            strays.append(["sleep", "2000"])
        self.inside("sh", "-c", start)
        # `setsid` takes a moment until it has executed its program.
        until = time.monotonic() + 20
        while sorted(self.running()) != strays and time.monotonic() < until:
            pass
        self.assertEqual(sorted(self.running()), strays)
        self.end()
        self.assertEqual((self.holder.returncode, self.running()), (0, []))
        self.assertEqual(self.command_line(self.world["model"]), b"")


if __name__ == "__main__":
    unittest.main()
