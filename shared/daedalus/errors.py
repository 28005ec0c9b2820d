"""The one error tree.

DaedalusError
├── ConfigError       the user's input is wrong: nothing was started, exit code 78
├── TransientError    the world is in the way (network, full disk): try again with back-off
└── PermanentError    trying again cannot help: stop this one thing, show it, keep the rest
    └── FencedError   another writer owns the shard now: this process must not commit again
"""

from __future__ import annotations

EXIT_SOFTWARE = 70  # an error nobody expected (sysexits EX_SOFTWARE)
EXIT_STALLED = 71  # the event loop stopped turning
EXIT_MEMORY = 72  # memory passed the critical mark
EXIT_FENCED = 73  # another writer owns the shard
EXIT_DEADLINE = 74  # the clean stop did not end in time
EXIT_CONFIG = 78  # sysexits EX_CONFIG


class DaedalusError(Exception):
    """The root. `exit_code` is what the process ends with when nobody handles it."""

    exit_code = EXIT_SOFTWARE


class ConfigError(DaedalusError):
    """All mistakes of a configuration at once, each `path: what was expected, was VALUE`."""

    exit_code = EXIT_CONFIG

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class TransientError(DaedalusError):
    """Worth trying again."""


class PermanentError(DaedalusError):
    """Not worth trying again."""


class FencedError(PermanentError):
    """The catalog refused a commit because another writer committed after us."""

    exit_code = EXIT_FENCED
