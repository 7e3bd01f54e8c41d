"""Does a part do what the benchmark expects of it? A table of checks, for contributed ones first.

Both frameworks are in one process, so the checks run in one of their own (`bench check-plugin`).
"""

from __future__ import annotations

from benchmark.conformance.report import Row as Row
