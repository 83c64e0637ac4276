"""The prints under the hammer: each is drawn from its style and its seed, as SVG, the same every time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from random import Random

WIDTH, HEIGHT = 800, 640
Points = Sequence[tuple[float, float]]

# Background first, then what is drawn on it.
PALETTES = (
    ("#0f2a43", "#f2b134", "#ed553b", "#3caea3", "#f6f1e4"),
    ("#f3e9d8", "#d1495b", "#edae49", "#00798c", "#30343f"),
    ("#1c1b29", "#ff5d73", "#ffb86b", "#7c77b9", "#f4f0ff"),
    ("#e9f0ec", "#1f6f5c", "#f28f3b", "#c8553d", "#2d3047"),
    ("#14342b", "#e8c547", "#60935d", "#f9f5e3", "#bb342f"),
    ("#f8e5e0", "#2b2d6e", "#e4572e", "#29a3a3", "#f3a712"),
    ("#22223b", "#f2e9e4", "#e07a5f", "#81b29a", "#f2cc8f"),
    ("#dfe7f2", "#273c75", "#e84a5f", "#f9b248", "#2a9d8f"),
)


def draw(style: str, seed: int) -> str:
    """One print as an SVG document."""
    ground, *colours = PALETTES[seed % len(PALETTES)]
    shapes = STYLES[style](Random(f"{style} {seed}"), ground, colours)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f"{rect(0, 0, WIDTH, HEIGHT, ground)}{''.join(shapes)}</svg>"
    )


# --- words to draw with ------------------------------------------------------------------------------------------


def tag(name: str, inside: str = "", **attributes: object) -> str:
    """An element; `stroke_width=2` becomes `stroke-width="2"`, and a number gets one decimal place."""
    text = "".join(
        f' {key.replace("_", "-")}="{round(value, 1) if isinstance(value, float) else value}"'
        for key, value in attributes.items()
    )
    return f"<{name}{text}>{inside}</{name}>" if inside else f"<{name}{text}/>"


def rect(x: float, y: float, width: float, height: float, fill: str, **more: object) -> str:
    return tag("rect", x=x, y=y, width=width, height=height, fill=fill, **more)


def circle(x: float, y: float, radius: float, fill: str, **more: object) -> str:
    return tag("circle", cx=x, cy=y, r=radius, fill=fill, **more)


def line(d: str, stroke: str, stroke_width: float, **more: object) -> str:
    return tag("path", d=d, fill="none", stroke=stroke, stroke_width=stroke_width, **more)


def straight(points: Points) -> str:
    return "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in points)


def smooth(points: Points) -> str:
    """A curve: each point is the handle of an arc between the middles of its neighbours."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x, y), (next_x, next_y) in itertools.pairwise(points[1:]):
        parts.append(f"Q{x:.1f} {y:.1f} {(x + next_x) / 2:.1f} {(y + next_y) / 2:.1f}")
    return "".join(parts) + f"L{points[-1][0]:.1f} {points[-1][1]:.1f}"


def turned(shapes: str, degrees: float, x: float, y: float, **more: object) -> str:
    return tag("g", shapes, transform=f"rotate({degrees} {x} {y})", **more)


# --- the styles --------------------------------------------------------------------------------------------------


def waves(random: Random, ground: str, colours: list[str]) -> list[str]:
    shapes = [circle(random.randint(180, 620), random.randint(120, 200), random.randint(60, 95), colours[0])]
    for row in range(9):
        base = 190 + row * 52
        length, shift, height = random.uniform(120, 230), random.uniform(0, 6.3), random.uniform(14, 34)
        crest = [(x, base + height * math.sin(x / length * 3.1 + shift)) for x in range(-40, WIDTH + 60, 20)]
        fill = ground if row % 3 == 2 else colours[1 + row % 3]
        shapes.append(tag("path", d=smooth([*crest, (WIDTH + 60, HEIGHT + 9), (-40, HEIGHT + 9)]), fill=fill))
        for lower in (9, 17):
            ripple = smooth([(x, y + lower) for x, y in crest])
            shapes.append(line(ripple, colours[3], 1.6, stroke_opacity=".35"))
    return shapes


def orbits(random: Random, ground: str, colours: list[str]) -> list[str]:
    stars = [
        circle(random.uniform(0, WIDTH), random.uniform(0, HEIGHT), random.choice((1, 1.4, 2.2)), colours[3])
        for _ in range(120)
    ]
    x, y, radius = random.randint(350, 450), random.randint(290, 350), random.randint(150, 180)
    tilt = random.randint(-28, -12)
    rings = "".join(
        tag("ellipse", cx=x, cy=y, rx=radius * size, ry=radius * size * 0.26, fill="none",
            stroke=colours[index % 3], stroke_width=width)
        for index, (size, width) in enumerate(((1.45, 16), (1.66, 9), (1.84, 22), (2.06, 5)))
    )  # fmt: skip
    bands = "".join(
        rect(
            x - radius,
            y - radius + step * radius / 4,
            radius * 2,
            radius / 8,
            colours[1 + step % 2],
            opacity=".75",
        )
        for step in range(1, 8)
    )
    near = tag("clipPath", rect(-WIDTH, y, 3 * WIDTH, HEIGHT, "#000"), id="near")
    ball = tag("clipPath", circle(x, y, radius, "#000"), id="ball")
    return [
        *stars,
        tag("defs", near + ball),
        turned(rings, tilt, x, y),
        circle(x, y, radius, colours[0]),
        turned(bands, tilt, x, y, clip_path="url(#ball)"),
        turned(tag("g", rings, clip_path="url(#near)"), tilt, x, y),
        circle(random.choice((110, 690)), random.randint(90, 160), random.randint(18, 34), colours[2]),
    ]


def tiles(random: Random, ground: str, colours: list[str]) -> list[str]:
    side, shapes = 80, []
    forms = {
        "quarter": f"M0 0H{side}A{side} {side} 0 0 1 0 {side}Z",
        "leaf": f"M0 0A{side} {side} 0 0 1 {side} {side}A{side} {side} 0 0 1 0 0Z",
        "half": f"M0 0A{side / 2} {side / 2} 0 0 0 {side} 0Z",
        "dot": f"M{side / 2} 18a22 22 0 1 0 .1 0Z",
        "triangle": f"M0 0L{side} {side}H0Z",
        "plain": "",
    }
    for x in range(0, WIDTH, side):
        for y in range(0, HEIGHT, side):
            below, above = random.sample([ground, *colours], 2)
            form = forms[random.choice(("quarter", "quarter", "leaf", "half", "dot", "triangle", "plain"))]
            turn = f"translate({x} {y}) rotate({random.choice((0, 90, 180, 270))} {side / 2} {side / 2})"
            shapes.append(rect(x, y, side + 0.5, side + 0.5, below))
            if form:
                shapes.append(
                    tag("path", d=form, fill=above, stroke=above, stroke_width=".8", transform=turn)
                )
    return shapes


def ridges(random: Random, ground: str, colours: list[str]) -> list[str]:
    x, y = random.randint(220, 580), random.randint(170, 240)
    halo = ((190, ".16"), (140, ".3"), (92, "1"))
    shapes = [circle(x, y, radius, colours[1], opacity=opacity) for radius, opacity in halo]
    for layer in range(6):
        base, rough, lift, edge = 270 + layer * 66, 74 - layer * 6, 0.0, []
        for x in range(-60, WIDTH + 80, 40):
            lift = lift * 0.6 + random.uniform(-rough, rough)
            edge.append((x, base + lift))
        fill = colours[(layer * 2 + 3) % 4] if layer % 2 else colours[2]
        mountain = straight([*edge, (WIDTH + 60, HEIGHT + 9), (-60, HEIGHT + 9)])
        shapes.append(tag("path", d=mountain, fill=fill, opacity=f"{0.55 + layer * 0.09:.2f}"))
    return shapes


def contours(random: Random, ground: str, colours: list[str]) -> list[str]:
    first, second, third = (random.uniform(0, 6.3) for _ in range(3))
    x, y, shapes = random.randint(340, 460), random.randint(280, 360), []
    for ring in range(22, 0, -1):
        points = []
        for step in range(74):
            angle = step / 72 * math.tau
            bend = 0.2 * math.sin(2 * angle + first) + 0.13 * math.sin(3 * angle + second + ring / 9)
            bend += 0.06 * math.sin(7 * angle + third + ring / 5)
            reach = ring * 17.5 * (1 + bend)
            points.append((x + reach * 1.25 * math.cos(angle), y + reach * math.sin(angle)))
        fill = (ground, *colours)[(ring // 3) % 5]
        shapes.append(
            tag(
                "path", d=smooth(points), fill=fill, stroke=colours[3], stroke_opacity=".45", stroke_width=1.4
            )
        )
    return shapes


def signal(random: Random, ground: str, colours: list[str]) -> list[str]:
    centre, shapes = random.randint(330, 470), []
    peaks = [(random.gauss(centre, 95), random.uniform(18, 52)) for _ in range(7)]
    for row in range(34):
        base = 165 + row * 12.5
        waves = [(random.uniform(4, 60), at, width) for at, width in peaks]
        sweep = [(90.0, base + 4)]
        for x in range(90, WIDTH - 80, 10):
            lift = sum(height * math.exp(-(((x - at) / width) ** 2)) for height, at, width in waves)
            sweep.append((x, base - lift - random.uniform(0, 3)))
        colour = colours[row * 3 // 34] if row % 9 else colours[3]
        shapes.append(
            tag(
                "path",
                d=smooth([*sweep, (WIDTH - 90, base + 4)]),
                fill=ground,
                stroke=colour,
                stroke_width=2.6,
            )
        )
    return shapes


def fields(random: Random, ground: str, colours: list[str]) -> list[str]:
    shapes: list[str] = []

    def divide(x: float, y: float, width: float, height: float, depth: int) -> None:
        if not depth or max(width, height) <= 110:
            plant(x + 4, y + 4, width - 8, height - 8)
            return
        share = random.uniform(0.32, 0.68)
        if width * random.uniform(0.7, 1.3) > height:
            divide(x, y, width * share, height, depth - 1)
            divide(x + width * share, y, width * (1 - share), height, depth - 1)
        else:
            divide(x, y, width, height * share, depth - 1)
            divide(x, y + height * share, width, height * (1 - share), depth - 1)

    def plant(x: float, y: float, width: float, height: float) -> None:
        soil, crop = random.sample([*colours, ground], 2)
        shapes.append(rect(x, y, width, height, soil))
        chance = random.random()
        if chance < 0.62:
            gap = random.choice((10, 14, 20))
            rows = (x + (step + 0.5) * gap for step in range(int(width // gap)))
            furrows = "".join(f"M{at:.1f} {y + 7:.1f}V{y + height - 7:.1f}" for at in rows)
            shapes.append(line(furrows, crop, gap * 0.3, stroke_linecap="round"))
        elif chance < 0.85:
            shapes.append(circle(x + width / 2, y + height / 2, min(width, height) * 0.33, crop))

    divide(16, 16, WIDTH - 32, HEIGHT - 32, 5)
    return shapes


def petals(random: Random, ground: str, colours: list[str]) -> list[str]:
    shapes, side = [], 160
    for x, y in itertools.product(range(side // 2, WIDTH, side), range(side // 2, HEIGHT, side)):
        count, (outer, inner, heart) = random.choice((5, 6, 8, 10)), random.sample(colours, 3)
        length, width = random.uniform(56, 70), random.uniform(14, 24)
        if random.random() < 0.3:
            shapes.append(rect(x - side / 2, y - side / 2, side, side, heart, opacity=".22"))
        for petal in range(count):
            fill = outer if petal % 2 else inner
            size = {"rx": width * 8 / (count + 3), "ry": length * 0.45}
            leaf = tag("ellipse", cx=x, cy=y - length * 0.58, fill=fill, **size)
            shapes.append(turned(leaf, petal * 360 / count, x, y))
        shapes += [circle(x, y, 15, heart), circle(x, y, 6, ground)]
    return shapes


def harbours(random: Random, ground: str, colours: list[str]) -> list[str]:
    shapes, side, half = [], 80, 40
    arc, over = f"A{half} {half} 0 0 1", 0.4  # a little over the edge, so that no seam shows
    rope = f"M{half} {-over}V0{arc} 0 {half}H{-over}M{half} {side + over}V{side}{arc} {side} {half}H{side + over}"
    for x, y in itertools.product(range(0, WIDTH, side), range(0, HEIGHT, side)):
        colour = colours[(x + y) // (4 * side) % 3]
        strands = line(rope, colour, 34) + line(rope, ground, 14) + line(rope, colours[3], 3)
        turn = f"translate({x} {y}) rotate({random.choice((0, 90))} {half} {half})"
        shapes.append(tag("g", strands, transform=turn))
    return shapes


STYLES: dict[str, Callable[[Random, str, list[str]], list[str]]] = {
    "waves": waves,
    "orbits": orbits,
    "tiles": tiles,
    "ridges": ridges,
    "contours": contours,
    "signal": signal,
    "fields": fields,
    "petals": petals,
    "harbours": harbours,
}
