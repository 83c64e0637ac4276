"""Draws landscapes, so that the wall is not empty and one person alone can watch photos arrive.

Nothing here is about realtime. The same seed always gives the same picture; nothing is read from disk.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Mood:
    """Light and colours of a picture."""

    sky: tuple[str, ...]  # from the top down to the horizon
    far: str  # the farthest ridge
    near: str  # the nearest
    light: str  # sun or moon


MOODS = {
    "dawn": Mood(("#5b6fa8", "#9d8fc0", "#e7a9b4", "#fbd3b0", "#fff0d4"), "#c79ab0", "#35304f", "#fff3d6"),
    "dusk": Mood(("#1b1f4b", "#4a2f73", "#a3437b", "#e8735f", "#ffc07a"), "#a25277", "#1a1530", "#ffe0a3"),
    "noon": Mood(("#3f7fbf", "#79b1dd", "#b6dbee", "#e4f3f3"), "#9cc2cf", "#1f4a54", "#ffffff"),
    "gold": Mood(("#f3b557", "#f8cc7c", "#fde3a7", "#fff4d6"), "#e0a268", "#4f2a22", "#fffbe8"),
    "jade": Mood(("#5fa39a", "#8fc4b1", "#c7e2c8", "#f3f3d9"), "#93bfa8", "#12372f", "#fdfbe0"),
    "night": Mood(("#070b1f", "#0f1c3f", "#1d3a63", "#396a86"), "#2c4f6e", "#050914", "#f4f1dc"),
    "polar": Mood(("#8fb1cf", "#b9cfe2", "#dde6ee", "#f8efe8"), "#b3c4d6", "#3a5270", "#ffffff"),
    "ember": Mood(("#2b1736", "#6b2148", "#bd3b44", "#f0803f", "#ffcf6b"), "#b8503f", "#200d1c", "#ffe9b0"),
}


def rgb(hex_colour: str) -> Colour:
    value = int(hex_colour[1:], 16)
    return (value >> 16 & 255, value >> 8 & 255, value & 255)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` (0 to 1) of `b` in it."""
    r, g, bl = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return (r, g, bl)


def gradient(size: tuple[int, int], stops: list[Colour]) -> Image.Image:
    """From the first colour at the top to the last at the bottom."""
    width, height = size
    column = Image.new("RGB", (1, height))
    pixels = []
    for y in range(height):
        at = y / max(1, height - 1) * (len(stops) - 1)
        first = min(int(at), len(stops) - 2)
        pixels.append(mix(stops[first], stops[first + 1], at - first))
    column.putdata(pixels)
    return column.resize((width, height))


def glow(
    picture: Image.Image, centre: tuple[float, float], radius: float, colour: Colour, strength: float
) -> None:
    """Adds light that fades from `centre` outwards."""
    side = max(2, round(radius * 2))
    rim = 180  # what radial_gradient has in the middle of each side (it reaches 255 in the corners)
    falloff = Image.radial_gradient("L").point(lambda v: round(max(0, 1 - v / rim) ** 1.6 * 255 * strength))
    light = Image.new("RGB", (side, side), (0, 0, 0))
    light.paste(colour, (0, 0), falloff.resize((side, side)))
    layer = Image.new("RGB", picture.size)
    layer.paste(light, (round(centre[0] - radius), round(centre[1] - radius)))
    picture.paste(ImageChops.screen(picture, layer))


def disc(picture: Image.Image, centre: tuple[float, float], radius: float, colour: Colour) -> None:
    mask = Image.new("L", (picture.width * 2, picture.height * 2))
    x, y = centre[0] * 2, centre[1] * 2
    ImageDraw.Draw(mask).ellipse((x - radius * 2, y - radius * 2, x + radius * 2, y + radius * 2), fill=255)
    picture.paste(colour, (0, 0), mask.reduce(2))


Line = list[float]  # a height for each column


def ridge(dice: random.Random, width: int, base: float, height: float, rough: float) -> Line:
    """A skyline: slow waves, and finer ones as `rough` says."""
    line = [0.0] * width
    reach, wave = 1.0, dice.uniform(0.8, 1.5)
    for _ in range(7):
        phase = dice.uniform(0, math.tau)
        turn = math.tau * wave / width
        for x in range(width):
            line[x] += reach * (1 - 2 * abs(math.sin(turn * x / 2 + phase)))  # sharp tops, round valleys
        reach *= rough
        wave *= dice.uniform(1.8, 2.3)
    low, high = min(line), max(line)
    return [base - height * (value - low) / (high - low) for value in line]


def hill(dice: random.Random, width: int, base: float, height: float) -> Line:
    """A soft skyline."""
    waves = [
        (dice.uniform(0.4, 0.9), dice.uniform(0, math.tau), 1.0),
        (dice.uniform(1, 1.8), dice.uniform(0, math.tau), 0.35),
    ]
    return [
        base
        - height
        * sum(reach * math.sin(math.tau * wave * x / width + phase) for wave, phase, reach in waves)
        / 2
        for x in range(width)
    ]


def below(size: tuple[int, int], line: Line, trees: list[tuple[float, float]] = ()) -> Image.Image:  # type: ignore[assignment]
    """The mask of what lies under a skyline, with firs (column, height) standing on it."""
    width, height = size
    mask = Image.new("L", (width * 2, height * 2))
    draw = ImageDraw.Draw(mask)
    outline = [(x * 2, y * 2) for x, y in enumerate(line)]
    draw.polygon([*outline, (width * 2, outline[-1][1]), (width * 2, height * 2), (0, height * 2)], fill=255)
    for x, tall in trees:
        foot = line[min(width - 1, max(0, int(x)))] * 2 + tall * 0.12
        fir(draw, x * 2, foot, tall * 2)
    return mask.reduce(2)


def fir(draw: ImageDraw.ImageDraw, x: float, foot: float, tall: float) -> None:
    tiers = 7
    for tier in range(tiers):
        top = foot - tall + tall * 0.86 * tier / tiers
        spread = tall * (0.035 + 0.15 * (tier + 1) / tiers)
        drop = tall * 0.24
        draw.polygon(
            [(x, top), (x - spread, top + drop), (x, top + drop * 0.8), (x + spread, top + drop)], fill=255
        )
    draw.rectangle((x - tall * 0.015, foot - tall * 0.1, x + tall * 0.015, foot + tall * 0.1), fill=255)


def land(
    picture: Image.Image, mask: Image.Image, line: Line, colour: Colour, haze: Colour, depth: float
) -> None:
    """Fills a mask with a colour that fades into haze `depth` pixels below the top of the skyline."""
    top = max(0, int(min(line)))
    fill = gradient(
        (picture.width, max(2, round(depth))), [colour, mix(colour, haze, 0.35), mix(colour, haze, 0.75)]
    )
    layer = Image.new("RGB", picture.size, mix(colour, haze, 0.75))
    layer.paste(fill, (0, top))
    picture.paste(layer, (0, 0), mask)


def stars(picture: Image.Image, dice: random.Random, until: float) -> None:
    draw = ImageDraw.Draw(picture)
    for _ in range(picture.width // 4):
        x, y = dice.randrange(picture.width), dice.triangular(0, until, 0)
        bright = dice.random() ** 3 * (1 - y / until)
        under = picture.getpixel((x, int(y)))
        draw.point((x, y), fill=mix(under, (255, 252, 240), 0.35 + 0.65 * bright))  # type: ignore[arg-type]
        if bright > 0.45:
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=mix(under, (255, 252, 240), bright))  # type: ignore[arg-type]


def clouds(picture: Image.Image, dice: random.Random, colour: Colour, until: float, many: int = 4) -> None:
    small = Image.new("L", (picture.width // 4, picture.height // 4))
    draw = ImageDraw.Draw(small)
    for _ in range(many):
        cx, cy = dice.uniform(0, small.width), dice.uniform(0.12, 0.95) * until / 4
        long = small.width * dice.uniform(0.12, 0.3)
        for _ in range(16):
            x = cx + dice.triangular(-long, long, 0)
            w, h = long * dice.uniform(0.1, 0.45), small.height * dice.uniform(0.005, 0.02)
            y = cy + dice.uniform(-h, h) * 1.4
            draw.ellipse((x - w, y - h, x + w, y + h), fill=dice.randrange(70, 170))
    soft = small.filter(ImageFilter.GaussianBlur(small.height / 55)).resize(
        picture.size, Image.Resampling.BICUBIC
    )
    picture.paste(colour, (0, 0), soft)


def birds(picture: Image.Image, dice: random.Random, colour: Colour, until: float) -> None:
    draw = ImageDraw.Draw(picture)
    x0, y0 = dice.uniform(0.2, 0.7) * picture.width, dice.uniform(0.3, 0.65) * until
    for _ in range(dice.randrange(5, 9)):
        x, y = x0 + dice.gauss(0, picture.width * 0.05), y0 + dice.gauss(0, picture.height * 0.025)
        wing = picture.width * dice.uniform(0.004, 0.0085)
        draw.arc((x - 2 * wing, y, x, y + wing * 1.3), 195, 345, fill=colour, width=2)
        draw.arc((x, y, x + 2 * wing, y + wing * 1.3), 195, 345, fill=colour, width=2)


def sky(
    picture: Image.Image, dice: random.Random, mood: Mood, horizon: float, sun: tuple[float, float, float]
) -> None:
    """The sky down to the horizon, with its light at `sun` (x, y, radius)."""
    x, y, radius = sun
    picture.paste(gradient((picture.width, max(2, round(horizon))), [rgb(c) for c in mood.sky]))
    picture.paste(rgb(mood.sky[-1]), (0, round(horizon), picture.width, picture.height))
    night = sum(rgb(mood.sky[0])) < 200
    if night:
        stars(picture, dice, horizon)
    light = rgb(mood.light)
    glow(picture, (x, y), picture.width * 0.5, light, 0.35 if night else 0.5)
    glow(picture, (x, y), radius * 4, light, 0.5)
    disc(picture, (x, y), radius, light)


# The scenes. Each is given dice, a picture to draw on and a mood.


def ridges(dice: random.Random, picture: Image.Image, mood: Mood) -> None:
    """Mountains behind mountains, with mist between them."""
    width, height = picture.size
    horizon = height * 0.62
    sky(
        picture,
        dice,
        mood,
        horizon,
        (width * dice.uniform(0.25, 0.75), height * dice.uniform(0.22, 0.4), width * 0.035),
    )
    clouds(picture, dice, rgb(mood.sky[-1]), horizon, many=3)
    haze, layers = rgb(mood.sky[-1]), 6
    for step in range(layers):
        share = step / (layers - 1)
        line = ridge(
            dice, width, height * (0.58 + 0.36 * share), height * (0.24 - 0.04 * share), 0.5 + 0.03 * step
        )
        colour = mix(rgb(mood.far), rgb(mood.near), share**1.2)
        land(picture, below(picture.size, line), line, colour, mix(haze, colour, share * 0.7), height * 0.34)
    birds(picture, dice, mix(rgb(mood.near), haze, 0.2), horizon)


def forest(dice: random.Random, picture: Image.Image, mood: Mood) -> None:
    """Firs on slopes that the fog thins out."""
    width, height = picture.size
    horizon = height * 0.7
    sky(
        picture,
        dice,
        mood,
        horizon,
        (width * dice.uniform(0.3, 0.7), height * dice.uniform(0.2, 0.34), width * 0.03),
    )
    haze = rgb(mood.sky[-1])
    far = ridge(dice, width, height * 0.6, height * 0.3, 0.5)
    land(picture, below(picture.size, far), far, mix(rgb(mood.far), haze, 0.25), haze, height * 0.3)
    for step in range(4):
        share = (step + 1) / 4
        line = hill(dice, width, height * (0.56 + 0.115 * step), height * 0.09)
        tall = height * (0.06 + 0.075 * step)
        trees = [(dice.uniform(0, width), tall * dice.uniform(0.55, 1.15)) for _ in range(150 - 34 * step)]
        colour = mix(rgb(mood.far), rgb(mood.near), share)
        mask = below(picture.size, line, trees)
        land(picture, mask, [y - tall for y in line], colour, mix(haze, colour, share**2), height * 0.42)


def sea(dice: random.Random, picture: Image.Image, mood: Mood) -> None:
    """A low sun and its road on the water."""
    width, height = picture.size
    horizon = round(height * dice.uniform(0.5, 0.6))
    sun = (width * dice.uniform(0.3, 0.7), horizon - height * dice.uniform(0.06, 0.16), width * 0.045)
    sky(picture, dice, mood, horizon, sun)
    clouds(picture, dice, mix(rgb(mood.sky[-1]), rgb(mood.light), 0.5), horizon * 0.8, many=5)
    for share in (0.15, 0.45):
        line = ridge(dice, width, horizon + 1, height * dice.uniform(0.06, 0.13), 0.5)
        slope = [min(float(horizon + 1), y + height * 0.05) for y in line]
        mask = below(picture.size, slope)
        mask.paste(0, (0, horizon, width, height))
        land(picture, mask, slope, mix(rgb(mood.far), rgb(mood.near), share), rgb(mood.sky[-1]), height * 0.2)
    mirrored(dice, picture, horizon, rgb(mood.near), 0.35, ripple=0.012)
    shine = Image.new("L", picture.size)
    draw = ImageDraw.Draw(shine)
    for _ in range(900):
        depth = dice.random() ** 1.5
        y = horizon + 2 + depth * (height - horizon)
        x = sun[0] + dice.gauss(0, width * (0.012 + 0.07 * depth))
        long = width * (0.003 + 0.022 * depth) * dice.uniform(0.4, 1.4)
        draw.line((x - long, y, x + long, y), fill=dice.randrange(60, 200), width=1 + int(depth * 2.5))
    picture.paste(rgb(mood.light), (0, 0), shine.filter(ImageFilter.GaussianBlur(0.8)))
    boat(picture, width * dice.choice((0.2, 0.8)), horizon + height * 0.055, height * 0.11, rgb(mood.near))


def boat(picture: Image.Image, x: float, y: float, tall: float, colour: Colour) -> None:
    mask = Image.new("L", (picture.width * 2, picture.height * 2))
    draw = ImageDraw.Draw(mask)
    x, y, tall = x * 2, y * 2, tall * 2
    draw.polygon(
        [
            (x - tall * 0.3, y),
            (x + tall * 0.34, y),
            (x + tall * 0.22, y + tall * 0.11),
            (x - tall * 0.2, y + tall * 0.11),
        ],
        fill=255,
    )
    draw.polygon([(x, y - tall), (x, y - tall * 0.06), (x + tall * 0.31, y - tall * 0.06)], fill=235)
    draw.polygon(
        [
            (x - tall * 0.03, y - tall * 0.86),
            (x - tall * 0.03, y - tall * 0.06),
            (x - tall * 0.24, y - tall * 0.06),
        ],
        fill=205,
    )
    picture.paste(colour, (0, 0), mask.reduce(2))


def mirrored(
    dice: random.Random, picture: Image.Image, shore: int, tint: Colour, share: float, ripple: float
) -> None:
    """Fills what is under `shore` with the picture above it, upside down, and ripples it."""
    width, height = picture.size
    deep = height - shore
    above = picture.crop((0, max(0, shore - deep), width, shore)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    water = Image.blend(above.resize((width, deep)), Image.new("RGB", (width, deep), tint), share)
    water = ImageChops.multiply(water, gradient((width, deep), [(255, 255, 255), (120, 120, 130)]))
    phase = dice.uniform(0, math.tau)
    for y in range(deep):
        near = y / deep
        shift = round(
            width
            * ripple
            * near
            * math.sin(phase + 46 * math.sqrt(near + 0.02))
            * (0.6 + 0.4 * dice.random())
        )
        picture.paste(water.crop((0, y, width, y + 1)), (shift, shore + y))
        if shift:  # the edge that the shift uncovered
            edge = (
                water.crop((0, y, shift, y + 1))
                if shift > 0
                else water.crop((width + shift, y, width, y + 1))
            )
            picture.paste(edge, (0 if shift > 0 else width + shift, shore + y))


def lake(dice: random.Random, picture: Image.Image, mood: Mood) -> None:
    """Mountains, firs on the shore, and both once more in the water."""
    width, height = picture.size
    shore = round(height * 0.6)
    sky(
        picture,
        dice,
        mood,
        shore,
        (width * dice.uniform(0.2, 0.8), height * dice.uniform(0.14, 0.28), width * 0.03),
    )
    clouds(picture, dice, mix(rgb(mood.sky[-1]), (255, 255, 255), 0.5), shore * 0.7, many=4)
    haze = rgb(mood.sky[-1])
    for share, tall in ((0.1, 0.4), (0.35, 0.26), (0.6, 0.15)):
        line = ridge(dice, width, shore + height * 0.02, height * tall, 0.52)
        land(
            picture,
            below(picture.size, line),
            line,
            mix(rgb(mood.far), rgb(mood.near), share),
            haze,
            height * 0.4,
        )
    bank = hill(dice, width, shore - height * 0.012, height * 0.02)
    trees = [(dice.uniform(0, width), height * dice.uniform(0.03, 0.12)) for _ in range(110)]
    picture.paste(mix(rgb(mood.near), haze, 0.1), (0, 0), below(picture.size, bank, trees))
    mirrored(dice, picture, shore, rgb(mood.near), 0.18, ripple=0.006)


def dunes(dice: random.Random, picture: Image.Image, mood: Mood) -> None:
    """Sand, each crest with a bright and a shaded side."""
    width, height = picture.size
    horizon = height * 0.5
    sky(picture, dice, mood, horizon, (width * dice.uniform(0.55, 0.8), height * 0.24, width * 0.04))
    haze = rgb(mood.sky[-1])
    far = ridge(dice, width, height * 0.5, height * 0.09, 0.45)
    land(picture, below(picture.size, far), far, mix(rgb(mood.far), haze, 0.4), haze, height * 0.12)
    for step in range(5):
        share = step / 4
        line = hill(dice, width, height * (0.52 + 0.11 * step), height * (0.05 + 0.025 * step))
        sunny = mix(haze, mix(rgb(mood.far), rgb(mood.near), 0.12 + 0.4 * share), 0.5 + 0.4 * share)
        mask = below(picture.size, line)
        land(picture, mask, line, sunny, mix(sunny, rgb(mood.near), 0.45), height * 0.5)
        crest = dice.uniform(0.25, 0.75) * width
        lee = [y + max(0.0, (x - crest) * 0.55) if x > crest else float(height) for x, y in enumerate(line)]
        shade = ImageChops.subtract(mask, below(picture.size, lee))
        shade.paste(0, (0, 0, int(crest), height))
        picture.paste(mix(sunny, rgb(mood.near), 0.38), (0, 0), shade.point(lambda v: v * 150 // 255))


def aurora(dice: random.Random, picture: Image.Image, mood: Mood) -> None:
    """Curtains of light over a frozen lake."""
    width, height = picture.size
    shore = round(height * 0.68)
    picture.paste(gradient((width, shore), [rgb("#040818"), rgb("#0a1a38"), rgb("#123a52"), rgb("#1f5a66")]))
    stars(picture, dice, shore)
    for hue, strength in (("#54f0a8", 1.0), ("#7ad7ff", 0.55), ("#b98cff", 0.7)):
        small = Image.new("L", (width // 4, height // 4))
        draw = ImageDraw.Draw(small)
        curve = hill(dice, small.width, small.height * dice.uniform(0.36, 0.52), small.height * 0.22)
        flicker = 0.6
        for x, foot in enumerate(curve):
            flicker = min(1.0, max(0.15, flicker + dice.gauss(0, 0.09)))
            tall = small.height * (0.2 + 0.28 * flicker)
            for part in range(16):
                bright = 235 * strength * flicker * (1 - part / 16) ** 1.5
                draw.line((x, foot - tall * part / 16, x, foot - tall * (part + 1) / 16), fill=round(bright))
        curtain = small.filter(ImageFilter.GaussianBlur(small.width / 170)).resize(
            picture.size, Image.Resampling.BICUBIC
        )
        light = Image.new("RGB", picture.size)
        light.paste(rgb(hue), (0, 0), curtain)
        picture.paste(ImageChops.screen(picture, light))
    for share, tall in ((0.0, 0.22), (0.6, 0.12)):
        line = ridge(dice, width, shore + 2, height * tall, 0.5)
        land(
            picture,
            below(picture.size, line),
            line,
            mix(rgb("#12324a"), rgb("#040a14"), share),
            rgb("#1f5a66"),
            height * 0.5,
        )
    bank = hill(dice, width, shore - height * 0.006, height * 0.012)
    trees = [(dice.uniform(0, width), height * dice.uniform(0.02, 0.09)) for _ in range(80)]
    picture.paste(rgb("#03070f"), (0, 0), below(picture.size, bank, trees))
    mirrored(dice, picture, shore, rgb("#071826"), 0.3, ripple=0.004)


def city(dice: random.Random, picture: Image.Image, mood: Mood) -> None:
    """Roofs at the blue hour, a light here and there."""
    width, height = picture.size
    horizon = height * 0.82
    sky(picture, dice, mood, horizon, (width * dice.uniform(0.3, 0.7), height * 0.58, width * 0.05))
    clouds(picture, dice, rgb(mood.sky[-1]), horizon * 0.7, many=4)
    haze = rgb(mood.sky[-1])
    draw = ImageDraw.Draw(picture)
    for layer in range(4):
        share = layer / 3
        colour = mix(mix(rgb(mood.far), haze, 0.25), rgb(mood.near), share)
        x = -width * 0.02
        while x < width:
            wide = width * dice.uniform(0.025, 0.075) * (0.8 + 0.35 * share)
            top = height * (0.5 + 0.12 * layer) - height * 0.2 * dice.random() ** 1.6
            draw.rectangle((x, top, x + wide, height), fill=colour)
            if dice.random() < 0.3:
                draw.rectangle((x + wide * 0.25, top - height * 0.025, x + wide * 0.7, top), fill=colour)
            if dice.random() < 0.22:
                draw.line((x + wide / 2, top - height * 0.06, x + wide / 2, top), fill=colour, width=2)
            if layer:
                cell, lit = width * 0.0085, mix(colour, rgb(mood.light), 0.55 + 0.25 * share)
                for column in range(1, int(wide / cell)):
                    for row in range(1, int((height - top) / cell / 1.7)):
                        if dice.random() < 0.13:
                            wx, wy = x + column * cell - cell * 0.3, top + row * cell * 1.7
                            draw.rectangle((wx, wy, wx + cell * 0.42, wy + cell * 0.7), fill=lit)
            x += wide + width * dice.choice((0, 0, 0.003, 0.012))


SCENES: dict[str, Callable[[random.Random, Image.Image, Mood], None]] = {
    scene.__name__: scene for scene in (ridges, forest, sea, lake, dunes, aurora, city)
}

SIZES = {"wide": (1440, 900), "landscape": (1350, 900), "square": (1080, 1080), "portrait": (960, 1200)}


def draw(scene: str, mood: str, shape: str, seed: int) -> Image.Image:
    """The picture of these four."""
    dice = random.Random(f"{scene} {mood} {shape} {seed}")
    picture = Image.new("RGB", SIZES[shape])
    SCENES[scene](dice, picture, MOODS[mood])
    return grained(dice, picture)


def grained(dice: random.Random, picture: Image.Image) -> Image.Image:
    """A breath of film grain, against bands in the gradients."""
    noise = Image.frombytes("L", picture.size, dice.randbytes(picture.width * picture.height))
    return Image.blend(picture, Image.merge("RGB", (noise,) * 3), 0.018)


# Who uploads them, and what is written below.

PEOPLE = (
    "Amara",
    "Ben",
    "Chiara",
    "Daniyar",
    "Elif",
    "Freja",
    "Goran",
    "Hana",
    "Ines",
    "Jonas",
    "Kiri",
    "Lucía",
    "Mateo",
    "Noor",
)

CAPTIONS = {
    "ridges": ("Seven ridges, no signal", "Up before the sun", "The long way home", "Quiet up here"),
    "forest": ("Fog lifting", "Smells of resin", "Somewhere in there is a path", "Listening to nothing"),
    "sea": ("Last boat in", "Flat calm", "Salt on everything", "The road on the water"),
    "lake": ("Not a breath of wind", "Everything twice", "Cold feet, worth it", "The far shore"),
    "dunes": ("Sand in my shoes, again", "No footprints yet", "Walking until noon", "Warm to the touch"),
    "aurora": ("Minus twenty, wide awake", "It moved!", "Green all night", "We just stood there"),
    "city": ("Blue hour", "Third floor, left", "Lights coming on", "Home is in there somewhere"),
}


def invented(dice: random.Random) -> dict[str, object]:
    """A picture that nobody took: author, caption and picture."""
    scene = dice.choice(tuple(SCENES))
    mood = dice.choice(("dusk", "ember", "night") if scene == "city" else tuple(MOODS))
    picture = draw(scene, mood, dice.choice(tuple(SIZES)), dice.randrange(10**9))
    return {"author": dice.choice(PEOPLE), "caption": dice.choice(CAPTIONS[scene]), "picture": picture}
