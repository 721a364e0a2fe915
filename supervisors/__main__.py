"""``python -m supervisors``: the same as ``feedwarden``."""

from supervisors.standalone.__main__ import main

if __name__ == "__main__":
    main()
