"""The script: ``feedwarden``, and :func:`load_config` for programs of one's own. Needs the extra ``standalone``."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisors.standalone.config import Config

__all__ = ["load_config"]


def load_config(path: str | os.PathLike[str]) -> "Config":
    """Read a configuration for :func:`supervisors.open_feeds`.

    Raises:
        ValueError: one line for each mistake.
    """
    # here, so that a base install can import this package and say what is missing
    from supervisors.standalone.config import load_config as load

    return load(path)
