"""A tenant's accent colour, made readable on light and on dark whatever the tenant chose.

Contrast is WCAG 2.2's: relative luminance of sRGB, at least 4.5 to 1 for text.
"""

from collections.abc import Iterable

MINIMUM_CONTRAST = 4.5
LIGHT = ("#ffffff", "#f5f6f8", "#eef1f5")
"""Paper, ground and shade of `academy.css` in the light scheme."""
DARK = ("#1b212b", "#11151b", "#242c38")
"""The same in the dark scheme."""
ON_DARK = "#10141b"
"""Text on the accent in the dark scheme."""
TINT = 0.12
STEPS = 40


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(channel) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two `#rrggbb` colours, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mix(colour: str, other: str, share: float) -> str:
    """*colour* with *share* (0 to 1) of *other* in it."""
    mixed = (
        round(a + (b - a) * share) for a, b in zip(_channels(colour), _channels(other), strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def tinted(paper: str, accent: str) -> str:
    """*paper* with a breath of *accent*: what marks the current page and one's own words."""
    return mix(paper, accent, TINT)


def readable(colour: str, papers: Iterable[str], *, towards: str) -> str:
    """The nearest shade of *colour*, moved *towards* black or white, readable on each paper.

    Readable on a paper also means on that paper tinted with the shade itself.
    """
    papers = tuple(papers)
    for step in range(STEPS + 1):
        shade = mix(colour, towards, step / STEPS)
        grounds = (*papers, *(tinted(paper, shade) for paper in papers))
        if all(contrast(shade, ground) >= MINIMUM_CONTRAST for ground in grounds):
            return shade
    return towards


def stylesheet(accent: str) -> str:
    """The tenant's few variables, for light and for dark."""
    light = readable(accent, LIGHT, towards="#000000")
    dark = readable(accent, DARK, towards="#ffffff")
    return (
        f":root{{--accent:{light};--on-accent:#ffffff;--accent-soft:{tinted(LIGHT[0], light)}}}"
        "@media (prefers-color-scheme:dark){"
        f":root{{--accent:{dark};--on-accent:{ON_DARK};--accent-soft:{tinted(DARK[0], dark)}}}}}"
    )
