"""GENERATION: a landscape drawn by rules.

Prompt and seed decide how it looks, but it doesn't show what the prompt says.

The words choose the colours: a small vocabulary has hues, and every other word a hash. Each word adds a soft disc to
the sky. The seed positions the discs, the light, the ridges and the lines of the wind.
"""

import colorsys
import hashlib
import re
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from stepwell.outbound.sanitise import invalid_input
from stepwell.providers.local.rendering import Inputs, RenderedFile, number, png_file, text
from stepwell.providers.local.sizes import MAX_CANVAS, image_size
from stepwell.providers.shared import images

# Hues (0 to 1 on the colour circle) of words that suggest one.
_HUES = {
    "red": 0.99, "rose": 0.95, "pink": 0.92, "fire": 0.03, "orange": 0.08, "sunset": 0.05, "autumn": 0.07,
    "gold": 0.12, "golden": 0.12, "yellow": 0.15, "sun": 0.13, "desert": 0.10, "sand": 0.11, "brown": 0.07,
    "green": 0.35, "forest": 0.37, "leaf": 0.30, "spring": 0.27, "garden": 0.33, "mint": 0.43, "jungle": 0.36,
    "teal": 0.49, "sea": 0.53, "ocean": 0.55, "water": 0.54, "ice": 0.54, "winter": 0.56, "sky": 0.57,
    "blue": 0.60, "rain": 0.59, "night": 0.65, "indigo": 0.70, "space": 0.70, "violet": 0.76, "purple": 0.78,
    "lavender": 0.73, "magenta": 0.86, "wine": 0.95, "fashion": 0.91, "elegant": 0.74, "dress": 0.94,
}  # fmt: skip
_DARK = frozenset({"night", "dark", "black", "space", "storm", "moody", "midnight", "noir"})
_APART = 0.12  # the minimum distance, on the colour circle, to the hues of the negative prompt
Colour = np.ndarray  # red, green, blue as float32, 0 to 1
_RIDGES = 6
_SHAPES = 12
_WEIGHTS = ("subject_lora_weight", "product_lora_weight", "product2_lora_weight", "style_lora_weight")


class Palette(NamedTuple):
    """The colours of an image: `sky` from top to horizon, `near` and `far` ground, `light`. `dark` is its mood."""

    sky: tuple[Colour, Colour, Colour]
    near: Colour
    far: Colour
    light: Colour
    dark: bool


def words(prompt: str) -> list[str]:
    """Return the distinct words of *prompt* in lower case, in order; at most 64."""
    return list(dict.fromkeys(re.findall(r"\w+", prompt.lower()[:10_000])))[:64]


def stream(*parts: object) -> np.random.Generator:
    """Return random numbers that depend on *parts* only."""
    digest = hashlib.blake2b(repr(parts).encode("utf-8", "replace"), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest)))


def word_hue(word: str) -> float:
    """Return the hue of a word, 0 to 1."""
    return _HUES[word] if word in _HUES else float(stream("hue", word).random())


def palette(prompt: list[str], negative: list[str], seed: int, saturation: float) -> Palette:
    """Choose the colours by the known words, else by the seed. Hues of *negative* are avoided. *saturation*: 0 to 1."""
    draw = stream("palette", prompt, negative, seed)
    hue_words = [word for word in prompt if word in _HUES]
    base = word_hue(hue_words[0]) if hue_words else float(draw.random())
    others = [word_hue(word) for word in hue_words[1:]]
    second = max(others, key=lambda hue: _distance(hue, base), default=base + float(draw.choice([-0.09, 0.09, 0.5])))
    avoided = [word_hue(word) for word in negative]
    base, second = (_away(hue + float(draw.normal(0, 0.012)), avoided) for hue in (base, second))
    dark = any(word in _DARK for word in prompt)
    top, middle, horizon = (0.16, 0.30, 0.52) if dark else (0.55, 0.80, 0.97)
    return Palette(
        sky=(
            _colour(base, saturation, top),
            _colour(base - 0.01, saturation * 0.75, middle),
            _colour(base - 0.02, saturation * 0.45, horizon),
        ),
        near=_colour(second, saturation * 0.9, 0.10 if dark else 0.22),
        far=_colour(second - 0.02, saturation * 0.5, 0.40 if dark else 0.80),
        light=_colour(base - 0.01, 0.25, 1.0),
        dark=dark,
    )


def word_colour(word: str, avoided: list[str]) -> Colour:
    """Return the colour of a word, away from the hues of the words in *avoided*."""
    return _colour(_away(word_hue(word), [word_hue(other) for other in avoided]), 0.6, 0.95)


def _away(hue: float, avoided: list[float]) -> float:
    for other in avoided:
        if _distance(hue, other) < _APART:
            hue = other + 0.33
    return hue


def _distance(hue: float, other: float) -> float:
    """Return the distance of two hues on the colour circle, 0 to 0.5."""
    return abs((hue - other + 0.5) % 1 - 0.5)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    return np.array(colorsys.hsv_to_rgb(hue % 1, min(1.0, saturation), value), dtype=np.float32)


def generate(inputs: Inputs, files: images.Files, seed: int) -> RenderedFile:
    """Draw an image of width x height (1024 x 1024).

    The LoRA weights (0 to 1, 0.5) have visible effects: subject sets the size of the light, product the strength of the
    words' discs, product2 the rings around the light, style the lines and the saturation. The colours of
    negative_prompt are avoided. A reference image is blended in by reference_image_strength (0 to 1, 0.5).
    """
    prompt, negative = text(inputs, "prompt"), text(inputs, "negative_prompt")
    if not prompt.strip():
        raise invalid_input("prompt", "is required")
    width, height = image_size(inputs)
    weights = {field: number(inputs, field, 0.5, 0, 1) for field in _WEIGHTS}
    strength = number(inputs, "reference_image_strength", 0.5, 0, 1)
    reference = None
    if "reference_image_url" in files:
        colours, _ = images.split_alpha(images.open_image(files, "reference_image_url"))
        reference = images.cover(colours, (width, height))
        del colours

    shrink = max(1.0, (width * height / MAX_CANVAS) ** 0.5)
    canvas = _Canvas(max(1, round(width / shrink)), max(1, round(height / shrink)))
    _draw(canvas, words(prompt), words(negative), weights, seed)
    image = canvas.image(stream("grain", seed))
    del canvas  # most of the memory
    if image.size != (width, height):
        image = images.resize(image, (width, height), Image.Resampling.BICUBIC)
    if reference is not None:
        _blend(image, reference, strength)
    return png_file(image)


def _blend(image: Image.Image, reference: Image.Image, strength: float) -> None:
    """Blend *reference*, of the same size, into *image*."""

    def blend_tile(tile: Image.Image, left: int, top: int) -> Image.Image:
        behind = reference.crop((left, top, left + tile.width, top + tile.height))
        return Image.blend(tile, behind, strength)

    images.by_tiles(image, blend_tile)


def _draw(canvas: "_Canvas", prompt: list[str], negative: list[str], weights: Mapping[str, float], seed: int) -> None:
    style = weights["style_lora_weight"]
    colours = palette(prompt, negative, seed, saturation=0.5 + 0.4 * style)
    draw = stream("composition", prompt, negative, seed)
    wind = canvas.field(draw, 4) + 0.5 * canvas.field(draw, 9)

    canvas.sky(colours, 0.10 * wind)
    for word in prompt[:_SHAPES]:
        _word_disc(canvas, word, negative, weights["product_lora_weight"], seed)
    _light(canvas, draw, colours, weights["subject_lora_weight"], weights["product2_lora_weight"])
    canvas.lines(colours.light, canvas.v * 14 + 2.2 * wind, 0.05 + 0.22 * style)
    _ridges(canvas, draw, colours, style)
    canvas.vignette(0.35)


def _word_disc(canvas: "_Canvas", word: str, negative: list[str], weight: float, seed: int) -> None:
    """Draw a soft disc in the sky. The word and the seed alone set its size and position."""
    numbers = stream("disc", word, seed)
    x, y = numbers.random() * canvas.aspect, 0.05 + 0.5 * numbers.random()
    radius = 0.03 + 0.11 * numbers.random() ** 2
    canvas.disc(word_colour(word, negative), (x, y), radius, 0.12 + 0.5 * weight, softness=0.25 + numbers.random())


def _light(canvas: "_Canvas", draw: np.random.Generator, colours: Palette, size: float, rings: float) -> None:
    """Draw the sun or moon: a disc with a halo, and thin rings around it."""
    centre = canvas.aspect * draw.uniform(0.25, 0.75), draw.uniform(0.2, 0.42)
    radius = draw.uniform(0.06, 0.10) * (0.6 + 0.8 * size)
    canvas.disc(colours.light, centre, 4.5 * radius, 0.5, softness=4.0)
    for n in range(round(6 * rings)):
        canvas.ring(colours.light, centre, radius * (1.5 + 0.45 * n), 0.35 / (1 + 0.5 * n))
    canvas.disc(colours.light, centre, radius, 0.95, softness=0.03)


def _ridges(canvas: "_Canvas", draw: np.random.Generator, colours: Palette, style: float) -> None:
    """Draw hills from far and pale to near and dark, each with a few contour lines."""
    for n in range(_RIDGES):
        depth = n / (_RIDGES - 1)
        line = 0.50 + 0.42 * depth + (0.13 - 0.06 * depth) * _skyline(draw, canvas.u[0] * (1 + 0.4 * depth))
        below = canvas.v - line[None, :]
        shade = colours.far * (1 - depth) + colours.near * depth
        canvas.mix(shade, np.clip(below * canvas.height + 0.5, 0, 1) * (0.72 + 0.28 * depth))
        haze = colours.sky[2] if depth < 0.5 else colours.far  # noqa: PLR2004 - half of the hills
        canvas.mix(haze, (below > 0) * np.exp(-np.maximum(below, 0) * 9) * (0.34 - 0.2 * depth))
        ripple = below * (60 - 25 * depth) + 1.5 * canvas.field(draw, 5)
        canvas.lines(colours.light, ripple, (below > 0) * np.exp(-np.maximum(below, 0) * 7) * (0.10 + 0.16 * style))


def _skyline(draw: np.random.Generator, along: np.ndarray) -> np.ndarray:
    """Return a smooth random curve, about -1 to 1: a sum of waves, each finer and flatter than the one before."""
    result = np.zeros_like(along)
    for octave in range(6):
        phase, stretch = draw.uniform(0, 2 * np.pi), draw.uniform(0.8, 1.25)
        result += np.sin(along * 4.2 * 1.9**octave * stretch + phase).astype(np.float32) * 0.55**octave
    return result / 2


class _Canvas:
    """An image as float32 (height x width x 3, 0 to 1). `u`, `v` are coordinates in heights, from the top left."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height, self.aspect = width, height, width / height
        self.pixels = np.zeros((height, width, 3), dtype=np.float32)
        self.u = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / height
        self.v = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height

    def field(self, draw: np.random.Generator, cells: int) -> np.ndarray:
        """Return smooth noise over the canvas, about -1 to 1, with *cells* bumps per height, and at most 512 across."""
        across = max(2, min(512, round(cells * self.aspect)))
        down = max(2, min(512, cells if self.aspect > 1 / 512 else 2))
        grid = Image.fromarray(draw.uniform(-1, 1, (down, across)).astype(np.float32), "F")
        return np.asarray(grid.resize((self.width, self.height), Image.Resampling.BICUBIC))

    def mix(self, colour: np.ndarray, amount: np.ndarray | float) -> None:
        """Move every pixel towards *colour* by *amount* (height x width, 0 to 1)."""
        for channel in range(3):
            plane = self.pixels[..., channel]
            plane += (colour[channel] - plane) * amount

    def sky(self, colours: Palette, warp: np.ndarray) -> None:
        top, middle, horizon = colours.sky
        height = np.clip((self.v + warp) / 0.75, 0, 1)
        self.pixels[:] = top
        self.mix(middle, np.clip(height * 2, 0, 1))
        self.mix(horizon, np.clip(height * 2 - 1, 0, 1))

    def disc(
        self, colour: np.ndarray, centre: tuple[float, float], radius: float, amount: float, softness: float
    ) -> None:
        """Draw a disc whose rim fades over *softness* radii. Only the pixels that it touches are computed."""
        edge = partial(self._around, centre, radius * (1 + softness))
        rows, columns, distance = edge()
        fade = np.clip((radius * (1 + softness) - distance) / max(radius * softness, 1.5 / self.height), 0, 1)
        part = self.pixels[rows, columns]
        part += (colour - part) * (fade * fade * (3 - 2 * fade) * amount)[..., None]

    def ring(self, colour: np.ndarray, centre: tuple[float, float], radius: float, amount: float) -> None:
        width = 1.2 / self.height + 0.0012
        rows, columns, distance = self._around(centre, radius + 2 * width)
        part = self.pixels[rows, columns]
        part += (colour - part) * (np.clip(1 - np.abs(distance - radius) / width, 0, 1) * amount)[..., None]

    def _around(self, centre: tuple[float, float], reach: float) -> tuple[slice, slice, np.ndarray]:
        """Return the rows and columns within *reach* of *centre*, and each pixel's distance from it."""
        (x, y), scale = centre, self.height
        rows = slice(max(0, int((y - reach) * scale)), max(0, int((y + reach) * scale) + 2))
        columns = slice(max(0, int((x - reach) * scale)), max(0, int((x + reach) * scale) + 2))
        return rows, columns, np.hypot(self.u[:, columns] - x, self.v[rows] - y)

    def lines(self, colour: np.ndarray, phase: np.ndarray, amount: np.ndarray | float) -> None:
        """Draw thin soft lines where *phase* is an integer, along its contours."""
        away = np.abs(phase - np.rint(phase))
        self.mix(colour, np.clip(1 - away * 9, 0, 1) ** 2 * amount)

    def vignette(self, amount: float) -> None:
        distance = np.hypot((self.u / self.aspect - 0.5), self.v - 0.5)
        self.pixels *= (1 - amount * np.clip(distance - 0.35, 0, 1) ** 1.5 * 2)[..., None]

    def image(self, draw: np.random.Generator) -> Image.Image:
        """Return the canvas as RGB. A little grain, the same in each channel, hides the steps of the gradients."""
        grain = draw.standard_normal((self.height, self.width), dtype=np.float32) * 1.2
        levels = np.clip(self.pixels * 255 + grain[..., None] + 0.5, 0, 255)
        return Image.fromarray(levels.astype(np.uint8), "RGB")
