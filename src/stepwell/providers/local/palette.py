"""Colours for words: a small vocabulary of hues, and a hash for every other word."""

import colorsys
import hashlib
import re
from typing import NamedTuple

import numpy as np

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
