"""The whole demo, once: loads 60,000 images, serves, searches and draws."""
import os
import re
import subprocess
import tempfile
import unittest


class DemoTest(unittest.TestCase):
    def test_loads_serves_searches_and_draws(self):
        with tempfile.TemporaryDirectory() as directory:
            run = subprocess.run([os.environ["DEMO"], directory], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, check=False)
            self.assertEqual(run.returncode, 0, run.stdout)
            with open(os.path.join(directory, "index.html"), encoding="utf-8") as file:
                page = file.read()
            with open(os.path.join(directory, "server.log"), encoding="utf-8") as file:
                self.assertIn("stopping", file.read())
        # A query, ten neighbours and ten exact ones for each of 20; and a stored image with ten, without
        # a filter and with each of four.
        self.assertEqual(page.count("<img "), 20 * 21 + 5 * 11)
        self.assertIn("60,000 images", page)
        self.assertIn(directory, run.stdout)
        recalls = {name: float(recall) for name, recall in
                   re.findall(r"^  (\S.*?) +\d+ +(\d\.\d{4}) ", run.stdout, re.MULTILINE)}
        self.assertEqual(recalls["exact"], 1)
        self.assertGreaterEqual(recalls["default"], 0.95)
        self.assertLess(recalls["recall target 0.80"], recalls["recall target 0.99"])


if __name__ == "__main__":
    unittest.main()
