"""The README's first line, on a machine with nothing but Python and make."""

from __future__ import annotations

import re
import subprocess

import pytest

from e2e.images import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

BASE = "python:3.13-slim-trixie"
SCRIPT = """
set -e
apt-get update -qq && apt-get install -qq --no-install-recommends make >/dev/null 2>&1
mkdir /daedalus /home/somebody && tar -xf - -C /daedalus && chown -R 1234:1234 /daedalus /home/somebody
cd /daedalus && exec setpriv --reuid 1234 --regid 1234 --clear-groups env HOME=/home/somebody make demo
"""


def test_the_demo_runs_in_a_bare_container() -> None:
    """`make demo` in what git would hand out, as an ordinary user: it records a simulated exchange and ends with a table."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = b"\0".join(name for name in listed.stdout.split(b"\0") if name and (ROOT / name.decode()).exists())
    tree = subprocess.run(["tar", "-c", "--null", "-T", "-"], cwd=ROOT, check=True, capture_output=True, input=names)
    done = subprocess.run(
        ["docker", "run", "--rm", "-i", "--init", BASE, "bash", "-c", SCRIPT],
        input=tree.stdout,
        check=False,
        capture_output=True,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, f"{said[-3000:]}\n{done.stderr.decode()[-3000:]}"
    print(said[-3000:])
    total = re.search(r"^all((?:\s+[\d,]+){5})\s*$", said, flags=re.MULTILINE)
    assert total is not None
    sent, *_, in_parquet, lost = (int(number.replace(",", "")) for number in total[1].split())
    assert sent == in_parquet > 1_000
    assert lost == 0
