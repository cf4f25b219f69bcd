"""Makes pytest fail on a skip that is not on a list, with ``--allowed-skips FILE``.

Without it tests skip what is not installed, such as ROS. Where everything is installed, a skip may
hide that an installation is broken. The list is YAML: the test files, their skips' reasons, and why
each may be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--allowed-skips', metavar='FILE', type=Path,
                     help='fail on a skip that is not on this list')


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption('allowed_skips')
    # the workers of pytest-xdist report to the process that started them
    if path is not None and not hasattr(config, 'workerinput'):
        allowed = yaml.safe_load(path.read_text('utf-8')) or {}
        config.pluginmanager.register(SkipCheck(allowed, path))


class SkipCheck:
    """Notes the skips that are not on the list, of tests and of whole files."""

    def __init__(self, allowed: dict[str, dict[str, str]], path: Path) -> None:
        """Take the reasons that are allowed, by test file, and where they are listed."""
        self._allowed, self._path = allowed, path
        self._unlisted: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: Any) -> None:
        if not report.skipped or hasattr(report, 'wasxfail'):
            return
        file = report.nodeid.split('::')[0]
        reason = str(report.longrepr[2]).removeprefix('Skipped: ')
        if reason not in self._allowed.get(file, {}):
            self._unlisted.add(f'{report.nodeid}: {reason}')

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unlisted and session.exitstatus in (
                pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unlisted:
            terminalreporter.section(f'skips that {self._path} does not allow', red=True)
            for skip in sorted(self._unlisted):
                terminalreporter.line(skip)
