"""The configuration in force."""

from collections.abc import Callable, Sequence

from receiver.source_state import SourceState
from routes.table import CompiledRoute, compile_table

from ..config.options import Config


class Current:
    """The configuration in force, and the sources and routes of it.

    A reload replaces all of it between two callbacks. So read it at each use, or `follow` it.
    `ticks` returns seconds that only go forward.
    """

    def __init__(self, config: Config, ticks: Callable[[], float]) -> None:
        self.config, self._ticks = config, ticks
        self.routes: Sequence[CompiledRoute] = compile_table(config.routes)
        #: By name, as configured. The mapping stays; its items are replaced.
        self.sources: dict[str, SourceState] = {}
        self._set_sources()
        self._followers: list[Callable[[Config], None]] = []

    def follow(self, use: Callable[[Config], None]) -> None:
        """Call `use` with the configuration: now, and after each reload before the next callback.

        It must not fail.
        """
        use(self.config)
        self._followers.append(use)

    def replace(self, config: Config, routes: Sequence[CompiledRoute]) -> None:
        """Put another configuration in force, with its compiled routes."""
        self.config, self.routes = config, routes
        self._set_sources()
        for use in self._followers:
            use(config)

    def _set_sources(self) -> None:
        before = dict(self.sources)
        self.sources.clear()
        for name, source in self.config.sources.items():
            known = before.get(name)
            if known is None or known.source != source:
                known = SourceState(name, source, self._ticks, known)
            self.sources[name] = known
