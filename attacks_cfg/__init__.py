"""Suites of attacks as YAML files; `benchmark.attacks.suites` reads them."""
