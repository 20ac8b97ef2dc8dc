"""What every engine does: calls of one function, spread over processes, each answered once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Died:
    """The answer of a process that ended without one: killed, or out of memory."""

    reason: str


class Engine(ABC):
    """Where calls run. Enter it before, leave it after: then its processes are gone."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many calls run side by side."""

    @abstractmethod
    def map(
        self, function: Callable[[Item], Output], items: Iterator[Item]
    ) -> Iterator[tuple[Item, Output | Died]]:
        """Yield (item, function(item)) in the order in which they finish.

        An item is taken from the iterator when there is a free slot for it, not before. An
        exception that the function raises is raised here.
        """

    @abstractmethod
    def close(self) -> None:
        """End all processes at once, whatever they are doing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
