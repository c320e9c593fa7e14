"""Writes tests/fixtures/images/letters.png: printed letters for the test of guards, 28 × 28 pixels each, side by side.

    python tests/conformance/letters.py

Those that look like a digit (O, I, l, S, Z and such) are left out. Needs Pillow, and the fonts DejaVu.
"""

import math
import pathlib
import string

from PIL import Image, ImageDraw, ImageFont

PICTURE = pathlib.Path(__file__).parent.parent / "fixtures" / "images" / "letters.png"
FONTS = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono"]
LETTERS = [letter for letter in string.ascii_letters if letter not in "OoIliSsZz"]
COLUMNS = 43
SIDE = 28


def letter(text, font):
    """Returns a letter, bright on dark, as the digits of MNIST are: 20 pixels high or wide, in the middle."""
    drawn = Image.new("L", (200, 200))
    ImageDraw.Draw(drawn).text((50, 40), text, fill=255, font=ImageFont.truetype(font + ".ttf", 96))
    drawn = drawn.crop(drawn.getbbox())
    scale = 20 / max(drawn.size)
    drawn = drawn.resize([max(1, round(side * scale)) for side in drawn.size], Image.Resampling.LANCZOS)
    whole = Image.new("L", (SIDE, SIDE))
    whole.paste(drawn, [(SIDE - side) // 2 for side in drawn.size])
    return whole


def main():
    letters = [letter(text, font) for font in FONTS for text in LETTERS]
    sheet = Image.new("L", (COLUMNS * SIDE, math.ceil(len(letters) / COLUMNS) * SIDE))
    for place, picture in enumerate(letters):
        sheet.paste(picture, (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
    sheet.save(PICTURE, optimize=True)
    print(f"{len(letters)} letters written to {PICTURE}")


if __name__ == "__main__":
    main()
