"""Draw the rooms of the code and what imports what, as SVG: `make docs`.

The picture comes from the real imports: a room stands above all rooms that it imports.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import grimp

_DOCS = Path(__file__).parents[1]
PICTURE = _DOCS / "architecture.svg"

_WIDTH, _HEIGHT = 168, 46
_GAP, _STEP = 26, 86
_MARGIN = 16
_STYLE = """
  text { fill: #1f2328; font: 16px system-ui, sans-serif; text-anchor: middle; }
  rect { fill: #f6f8fa; stroke: #8c959f; }
  path { fill: none; stroke: #0969da; stroke-width: 1.5; stroke-opacity: 0.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    rect { fill: #161b22; stroke: #6e7681; }
    path { stroke: #58a6ff; }
  }
"""


def room_of(module: str) -> str:
    """Return the room of a module: its package; in `server` the package or module below it."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "server" and len(parts) > 1 else parts[0]


def imports() -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    project = tomllib.loads((_DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    graph = grimp.build_graph(*project["tool"]["importlinter"]["root_packages"])
    found: dict[str, set[str]] = {room_of(module): set() for module in graph.modules}
    for module in graph.modules:
        imported = map(room_of, graph.find_modules_directly_imported_by(module))
        found[room_of(module)] |= {room for room in imported if room != "server"}
    del found["server"]  # it holds the version alone
    return {room: rooms - {room} for room, rooms in found.items()}


def levels(below: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the rooms by level, the lowest first. A circle of imports is a RecursionError."""

    def level(room: str) -> int:
        return max((1 + level(other) for other in below[room]), default=0)

    rows: list[list[str]] = [[] for _ in range(1 + max(map(level, below)))]
    for room in sorted(below):
        rows[level(room)].append(room)
    return rows


def direct(below: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the imports without those that others imply: a line less for the eye."""

    def reached(room: str) -> set[str]:
        return below[room].union(*map(reached, below[room]))

    return {room: rooms.difference(*map(reached, rooms)) for room, rooms in below.items()}


def draw() -> str:
    """Return the picture: rooms by level, lines down to the rooms that each one imports."""
    below = imports()
    rows, lines_to = levels(below), direct(below)
    widest = max(map(len, rows))
    width = 2 * _MARGIN + widest * _WIDTH + (widest - 1) * _GAP
    height = 2 * _MARGIN + (len(rows) - 1) * _STEP + _HEIGHT
    places: dict[str, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        left = (width - len(row) * _WIDTH - (len(row) - 1) * _GAP) / 2
        for column, room in enumerate(row):
            x = left + column * (_WIDTH + _GAP)
            places[room] = x, height - _MARGIN - _HEIGHT - depth * _STEP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
        f"<title>Rooms of the code and their imports</title><style>{_STYLE}</style>",
    ]
    for room, (x, y) in places.items():
        for imported in sorted(lines_to[room]):
            to_x, to_y = places[imported]
            begin, end, bend = y + _HEIGHT, to_y, (to_y - y - _HEIGHT) / 2
            lines.append(
                f'<path d="M{x + _WIDTH / 2:g},{begin:g} C{x + _WIDTH / 2:g},{begin + bend:g}'
                f' {to_x + _WIDTH / 2:g},{end - bend:g} {to_x + _WIDTH / 2:g},{end:g}">'
                f"<title>{room} imports {imported}</title></path>"
            )
    for room, (x, y) in places.items():
        lines += [
            f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
            f'<text x="{x + _WIDTH / 2:g}" y="{y + 29:g}">{room}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(draw())
