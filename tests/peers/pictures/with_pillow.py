"""The work of gateway/benches/pictures in Pillow. Usage: with_pillow.py ORIGINAL FOLDER TIMES FONT [PNG level]

The overlay of each size is drawn once, outside the measured time.
"""

import io
import json
import sys
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from label import PACKET

original, folder, times, font = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
level = {"compress_level": int(sys.argv[5])} if len(sys.argv) > 5 else {}


def overlay(side):
    """White text on a half-opaque plate, and where it goes."""
    type_face = ImageFont.truetype(font, round(side * 0.0725))
    left, top, right, bottom = type_face.getbbox("AI生成")
    room = side // 80
    plate = Image.new("RGBA", (right - left + 2 * room, bottom - top + 2 * room), (0, 0, 0, 166))
    ImageDraw.Draw(plate).text((room - left, room - top), "AI生成", font=type_face, fill="white")
    margin = side // 100 + 1
    return plate, (side - plate.width - margin, side - plate.height - margin)


OVERLAYS = {side: overlay(side) for side in (1024, 256)}


def stamped(picture):
    plate, place = OVERLAYS[picture.width]
    picture.paste(plate, place, plate)
    return picture


def webp(picture):
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80, method=4, xmp=PACKET.encode())
    return file.getvalue()


def once():
    picture = Image.open(io.BytesIO(original))
    picture.load()
    small = stamped(picture.resize((256, 256), Image.Resampling.LANCZOS))
    whole = stamped(picture)
    note = PngImagePlugin.PngInfo()
    note.add_itxt("XML:com.adobe.xmp", PACKET)
    png = io.BytesIO()
    whole.save(png, "PNG", pnginfo=note, **level)
    return {"png": png.getvalue(), "webp": webp(whole), "thumb": webp(small)}


wall, cpu, made = [], [], once()
for _ in range(times):
    began, ran = time.perf_counter(), time.process_time()
    made = once()
    cpu.append((time.process_time() - ran) * 1000)
    wall.append((time.perf_counter() - began) * 1000)
folder.mkdir(parents=True, exist_ok=True)
for name, file in made.items():
    (folder / f"{name}.{'png' if name == 'png' else 'webp'}").write_bytes(file)
print(json.dumps({"wall_ms": wall, "cpu_ms": cpu, "bytes": {name: len(file) for name, file in made.items()}}))
