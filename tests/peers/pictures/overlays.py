"""Draws the overlays that sharp lays on: Pillow's, of each size. Usage: overlays.py FONT FOLDER"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

for side in (1024, 256):
    face = ImageFont.truetype(sys.argv[1], round(side * 0.0725))
    left, top, right, bottom = face.getbbox("AI生成")
    room = side // 80
    plate = Image.new("RGBA", (right - left + 2 * room, bottom - top + 2 * room), (0, 0, 0, 166))
    ImageDraw.Draw(plate).text((room - left, room - top), "AI生成", font=face, fill="white")
    plate.save(Path(sys.argv[2]) / f"{side}.png")
