"""`pytest tests/golden --update-golden` writes the expected files anew; read the difference before you commit it."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/*/ from what is rendered now")
