"""Secrets: written in a configuration as where they are, never as what they are."""

import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from actors.notifier import Secret

_WRITTEN = re.compile(r"\$\{(env|file|credential):([^{}]+)\}")
_HOW = 'write "${env:NAME}", "${file:PATH}" or "${credential:NAME}"'
MAX_BYTES = 64 * 1024
_RUN_SECRETS = Path("/run/secrets")
"""Where container engines mount secrets, readable by all of the container."""


class Secrets:
    """Reads them.

    Args:
        environment: What ``${env:NAME}`` reads; ``$CREDENTIALS_DIRECTORY`` in it is systemd's (systemd.exec(5)).
        path: Makes a path of what is written after ``file:``.
    """

    def __init__(self, environment: Mapping[str, str], path: Callable[[str], Path]) -> None:
        self.warnings: list[str] = []
        """What should be mended, one line each."""
        self._environment = environment
        self._path = path
        self._warned: set[Path] = set()
        credentials = environment.get("CREDENTIALS_DIRECTORY")
        self._credentials = Path(credentials) if credentials else None

    def read(self, text: str) -> Secret:
        """The secret that ``text`` names; ValueError, which shows no secret, if it cannot be had."""
        written = _WRITTEN.fullmatch(text)
        if written is None:
            raise ValueError(f"must not stand in the file; {_HOW}")
        kind, name = written.groups()
        if kind == "env":
            if name not in self._environment:
                raise ValueError(f"environment variable {name} is not set")
            return Secret(self._environment[name])
        if kind == "file":
            return self._file(name, self._path(name))
        if self._credentials is None:
            raise ValueError(f"credential {name}: there is no $CREDENTIALS_DIRECTORY; set LoadCredential= in the unit")
        if "/" in name:
            raise ValueError(f"credential {name}: a name has no slash")
        return self._file(name, self._credentials / name)

    def _file(self, name: str, path: Path) -> Secret:
        try:
            mode = path.stat().st_mode
            if mode & stat.S_IWOTH:
                raise ValueError(f"{name} can be written by everybody, so it is nobody's secret: chmod 600 {name}")
            with path.open("rb") as file:
                value = file.read(MAX_BYTES + 1).decode()
        except OSError as error:
            raise ValueError(f"{name} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{name} cannot be read: it is not UTF-8") from None
        if len(value) > MAX_BYTES:
            raise ValueError(f"{name} is too large for a secret")
        if mode & (stat.S_IRGRP | stat.S_IROTH) and path not in self._warned and not self._guarded(path):
            self._warned.add(path)
            self.warnings.append(f"{name} can be read by others: chmod 600 {name}")
        return Secret(value.strip())

    def _guarded(self, path: Path) -> bool:
        """Whether somebody else answers for who may read it."""
        guarded = [_RUN_SECRETS, *([self._credentials] if self._credentials else [])]
        return any(path.absolute().is_relative_to(folder) for folder in guarded)
