"""The parts of the run under a memory limit that need no server."""
import os
import struct
import subprocess
import sys
import tempfile
import types
import unittest

import memory_limit


class NoCgroup:
    path = None

    def enter(self):
        pass

    def failures(self):
        return 0


class SizeTest(unittest.TestCase):
    def test_units(self):
        self.assertEqual(memory_limit.parse_size("768MiB"), 768 << 20)
        self.assertEqual(memory_limit.parse_size("1.5GB"), 1_500_000_000)
        self.assertEqual(memory_limit.parse_size("12"), 12)


class RecallTest(unittest.TestCase):
    def test_ties_count_and_doubles_do_not(self):
        truth = (1, 10, tuple(range(10)), tuple(map(float, [1, 2, 3, 4, 5, 6, 7, 8, 9, 9])))
        self.assertEqual(memory_limit.recall(truth, truth), 1)
        ids = (0, 1, 2, 3, 4, 5, 6, 7, 7, 99)
        distances = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0, 9.0)
        self.assertEqual(memory_limit.recall((1, 10, ids, distances), truth), 0.9)

    def test_the_files_layout(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(struct.pack("<IIIIff", 1, 2, 8, 9, 0.5, 1.5))
            file.flush()
            self.assertEqual(memory_limit.read_answers(file.name), (1, 2, (8, 9), (0.5, 1.5)))


class RunnerTest(unittest.TestCase):
    def run_script(self, text):
        with tempfile.TemporaryDirectory() as directory:
            script = os.path.join(directory, "tessera")
            with open(script, "w") as file:
                file.write(f"#!{sys.executable}\n{text}\n")
            os.chmod(script, 0o755)
            runner = memory_limit.Runner(
                types.SimpleNamespace(tessera=script, limit="1MiB"), NoCgroup())
            return runner, runner.run("step", "stats")

    def test_the_peak_is_that_of_the_command(self):
        runner, output = self.run_script(
            "import sys, time; x = b'x' * (64 << 20); time.sleep(0.2); del x; time.sleep(0.1)\n"
            "print(sys.argv[1:])")
        self.assertEqual(output, "['stats', '--memory-limit', '1MiB']\n")
        self.assertGreater(runner.peaks["step"], 64 << 20)
        self.assertLess(runner.peaks["step"], 128 << 20)

    def test_a_command_that_fails_ends_it(self):
        with self.assertRaisesRegex(SystemExit, "ended with 3"):
            self.run_script("import sys; sys.exit(3)")


class CgroupTest(unittest.TestCase):
    def test_is_removed_again(self):
        cgroup = memory_limit.Cgroup(256 << 20)
        if cgroup.path is None:
            self.skipTest("no memory cgroups can be made here")
        self.assertTrue(os.path.isdir(cgroup.path))
        subprocess.run(["true"], preexec_fn=cgroup.enter, check=True)
        self.assertEqual(cgroup.failures(), 0)
        cgroup.remove()
        self.assertFalse(os.path.exists(cgroup.path))


if __name__ == "__main__":
    unittest.main()
