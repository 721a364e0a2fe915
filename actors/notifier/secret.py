"""A value that must not be seen (pure)."""


class Secret:
    """Holds a token or password; every way of showing it gives ``***``.

    Copies are the same object, a pickle holds ``***`` only. It is not an attrs class, so that ``attrs.asdict`` and
    converters built on attrs fields cannot look inside.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value itself: for the one place that puts it on the wire."""
        return self.__value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, ("***",)
