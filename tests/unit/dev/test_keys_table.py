"""The table of keys: every key has a test that shows it, and docs/keys.md says so."""

import subprocess
import sys

import pytest
from dev.environment import ROOT


@pytest.mark.timeout(300)
def test_every_key_is_shown_and_the_page_is_current() -> None:
    """In a process of its own: it collects all tests."""
    done = subprocess.run(
        [sys.executable, "-m", "dev.keys_table", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
