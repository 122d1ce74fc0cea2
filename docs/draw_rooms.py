"""The house as one picture, drawn from the imports: ``make rooms`` writes docs/images/rooms.svg.

A room is a package directly below ``trimkit``, or a plugin; loose modules are left out. An arrow says "imports", and is
drawn only where no longer way through other rooms says so already.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import grimp

PICTURE = Path(__file__).parent / "images" / "rooms.svg"
WIDTH, ROW, BOX, HEIGHT = 960, 84, 132, 40

Imports = Mapping[str, set[str]]
"""Room → the rooms that it imports."""


def read_imports(root: Path) -> Imports:
    """The rooms of the checkout and what each imports, imports for type checking only left out."""
    packages = [
        "trimkit",
        *(path.name for path in sorted(root.glob("plugins/*/trimkit_*")) if path.name.isidentifier()),
    ]
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=True, cache_dir=None)
    rooms = {room for room in graph.find_children("trimkit") if graph.find_children(room)} | set(packages[1:])
    return {
        room: {
            other
            for other in rooms - {room}
            if graph.direct_import_exists(importer=room, imported=other, as_packages=True)
        }
        for room in sorted(rooms)
    }


def floors(imports: Imports) -> dict[str, int]:
    """How high each room lies: one above the highest that it imports.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    heights: dict[str, int] = {}
    while len(heights) < len(imports):
        ready = [room for room, below in imports.items() if room not in heights and below <= heights.keys()]
        if not ready:
            raise ValueError(f"these rooms import each other in a circle: {sorted(imports.keys() - heights.keys())}")
        heights |= {room: 1 + max((heights[other] for other in imports[room]), default=-1) for room in ready}
    return heights


def direct(imports: Imports) -> Imports:
    """The imports without those that follow from others."""

    def reached(room: str) -> set[str]:
        return imports[room].union(*(reached(other) for other in imports[room]))

    return {room: below - set().union(*(reached(other) for other in below)) for room, below in imports.items()}


def draw(imports: Imports) -> str:
    """The picture as SVG: rooms in rows, the lowest below."""
    heights = floors(imports)
    top = max(heights.values())
    places: dict[str, tuple[float, float]] = {}
    for floor in range(top + 1):
        row = sorted(room for room, height in heights.items() if height == floor)
        for i, room in enumerate(row):
            places[room] = (WIDTH * (i + 1) / (len(row) + 1), 30 + ROW * (top - floor) + HEIGHT / 2)
    arrows = [_arrow(places[room], places[other]) for room, below in direct(imports).items() for other in sorted(below)]
    boxes = [_box(room, *place) for room, place in places.items()]
    height = 30 + ROW * (top + 1)
    return "\n".join([_HEAD.format(width=WIDTH, height=height), *arrows, *boxes, "</svg>", ""])


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    y, v = y + HEIGHT / 2, v - HEIGHT / 2
    bend = (v - y) / 2
    return f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {u:.0f} {v - bend:.0f} {u:.0f} {v - 5:.0f}"/>'


def _box(room: str, x: float, y: float) -> str:
    kind = "core" if room.startswith("trimkit.") else "plugin"
    corner = f'x="{x - BOX / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{BOX}" height="{HEIGHT}" rx="6"'
    name = html.escape(room.removeprefix("trimkit."))
    return f'<rect class="{kind}" {corner}/><text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>'


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-label="The rooms of trimkit, each above those it imports">
<style>
svg {{ background: #fff; font: 15px system-ui, sans-serif }} text {{ text-anchor: middle; fill: #1a2430 }}
path {{ fill: none; stroke: #7c8a9a; stroke-width: 1.4; marker-end: url(#head) }}
.core {{ fill: #e8eef6; stroke: #4a6a94 }} .plugin {{ fill: #fdf0dc; stroke: #b7791f }}
</style>
<defs><marker id="head" markerWidth="7" markerHeight="7" refX="2" refY="3" orient="auto">\
<path d="M0 0L6 3L0 6Z" style="fill:#7c8a9a;stroke:none"/></marker></defs>"""


def main() -> None:
    """Draw the picture of this checkout."""
    PICTURE.write_text(draw(read_imports(Path(__file__).parents[1])), encoding="utf-8")
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
