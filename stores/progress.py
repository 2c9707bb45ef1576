"""How long work tells of itself; `flows` draws it, tests stay silent."""

from typing import Protocol


class Progress(Protocol):
    """A named amount of work: its total is known at the start, its rate and ETA follow from `advance`.

    `note` says one thing in between, such as what is planned.
    """

    def start(self, name: str, total: int, unit: str) -> None: ...

    def advance(self, name: str, n: int = 1) -> None: ...

    def finish(self, name: str) -> None: ...

    def note(self, message: str) -> None: ...


class Silent:
    """A Progress that says nothing."""

    def start(self, name: str, total: int, unit: str) -> None:
        pass

    def advance(self, name: str, n: int = 1) -> None:
        pass

    def finish(self, name: str) -> None:
        pass

    def note(self, message: str) -> None:
        pass
