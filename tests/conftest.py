"""`--update-golden` writes golden files anew (tests/golden, tests/helm); read the difference before you commit it."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files from what is rendered now")
