"""A tenant's accent colour, made readable on light and on dark whatever the tenant chose.

Contrast is WCAG 2.2's: relative luminance of sRGB, at least 4.5 to 1 for text.
"""

MINIMUM_CONTRAST = 4.5
LIGHT_PAPER = "#ffffff"
LIGHT_SHADE = "#eef1f5"
DARK_PAPER = "#1b212b"
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


def readable(colour: str, paper: str, *, towards: str) -> str:
    """The nearest shade of *colour*, moved *towards* black or white, readable on *paper*."""
    for step in range(STEPS + 1):
        shade = mix(colour, towards, step / STEPS)
        if contrast(shade, paper) >= MINIMUM_CONTRAST:
            return shade
    return towards


def stylesheet(accent: str) -> str:
    """The tenant's few variables, for light and for dark."""
    light = readable(accent, LIGHT_SHADE, towards="#000000")
    dark = readable(accent, mix(DARK_PAPER, accent, 0.16), towards="#ffffff")
    return (
        f":root{{--accent:{light};--on-accent:#ffffff;--accent-soft:{mix('#ffffff', light, 0.1)}}}"
        "@media (prefers-color-scheme:dark){"
        f":root{{--accent:{dark};--on-accent:#10141b;"
        f"--accent-soft:{mix(DARK_PAPER, dark, 0.14)}}}}}"
    )
