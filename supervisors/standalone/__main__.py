"""``python -m supervisors.standalone``, and what the console script ``feedwarden`` calls."""

import sys
from typing import NoReturn

EXTRA = frozenset({"cyclopts", "cattrs", "structlog", "orjson", "rich", "starlette", "hypercorn", "trustme"})
"""What the extra ``standalone`` installs; a base install has none of it."""


def main() -> NoReturn:
    """Run the script with the arguments of this process, and exit."""
    try:
        from supervisors.standalone import cli

        code = cli.main(sys.argv[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        text = "feedwarden: the script needs its extra; install it with: pip install 'feedwarden[standalone]'\n"
        sys.stderr.write(text)
        code = 2
    sys.exit(code)


if __name__ == "__main__":
    main()
