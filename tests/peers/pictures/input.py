"""Makes the original of the measurement: 1024 x 1024, RGB, written as ComfyUI writes it (Pillow, level 4, a prompt).

Smooth and busy parts with a little noise, so that it packs like a generated photograph. Usage: input.py FILE
"""

import random
import sys

from PIL import Image, ImageChops, ImageDraw, ImageFilter, PngImagePlugin

SIDE = 1024


def layer(seed):
    """Soft blobs of one channel."""
    dice = random.Random(seed)
    small = Image.frombytes("L", (48, 48), bytes(dice.randrange(256) for _ in range(48 * 48)))
    soft = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(6))
    shapes = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(shapes)
    for _ in range(120):
        x, y, r = dice.randrange(SIDE), dice.randrange(SIDE), dice.randrange(4, 90)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=dice.randrange(120))
    fine = Image.frombytes("L", (SIDE, SIDE), dice.randbytes(SIDE * SIDE)).point(lambda v: v // 36)
    return ImageChops.add(ImageChops.add(soft, shapes.filter(ImageFilter.GaussianBlur(1))), fine)


note = PngImagePlugin.PngInfo()
note.add_text("prompt", '{"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}' * 40)
picture = Image.merge("RGB", [layer(seed) for seed in (1, 2, 3)])
picture.save(sys.argv[1], pnginfo=note, compress_level=4)
