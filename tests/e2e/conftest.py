"""One project for the tests of a file; when a test fails, its report ends with the containers' last lines."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from e2e.project import Project

os.environ.setdefault(
    "TESTCONTAINERS_RYUK_DISABLED", "true"
)  # one image less; each project is taken down by its fixture


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: object) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for project in getattr(item, "funcargs", {}).values():
            if isinstance(project, Project):
                report.sections.append((f"containers of {project.name}", project.log_tails()))
    return report
