"""Reads every picture of a folder with ExifTool, Pillow and exiv2: each must find one and the same label.

Usage: read.py FOLDER, where FOLDER/expected.json holds the label's value. The pictures are of one grey, so that the
label's ink can be measured: its lowest glyph must be 5 % of the shortest side or more.
"""

import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import exiv2
from PIL import Image

PROPERTY = "{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"
# Words that no deliverable of ours may hold, in whatever part a reader knows.
PRIVATE = ("prompt", "workflow", "secret")
# Half way between white ink and its plate on the grey of these pictures.
HALF_INK = 143


def by_exiftool(path):
    """Every line about a label, and its value."""
    told = run("exiftool", "-a", "-G1", "-s", str(path)).lower().splitlines()
    told = [line for line in told if not line.startswith("[system]")]
    lines = [line for line in told if "aigc" in line]
    assert not [line for line in told if any(word in line for word in PRIVATE)], told
    assert len(lines) == 1, told
    return [run("exiftool", "-s3", "-XMP-TC260:AIGC", str(path)).strip()]


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def by_pillow(path):
    """Every value in the packet, element or attribute."""
    with Image.open(path) as picture:
        picture.load()
        info = {**picture.info, **getattr(picture, "text", {})}
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp")
    packet = packet if isinstance(packet, str) else packet.decode()
    assert not [key for key in info if key.lower() in PRIVATE or key == "AIGC"], info.keys()
    root = ElementTree.fromstring(packet.split("?>", 1)[1].rsplit("<?xpacket", 1)[0])
    elements = [element.text for element in root.iter(PROPERTY)]
    return elements + [element.attrib[PROPERTY] for element in root.iter() if PROPERTY in element.attrib]


def by_exiv2(path):
    picture = exiv2.ImageFactory.open(str(path))
    picture.readMetadata()
    return [datum.toString() for datum in picture.xmpData() if "AIGC" in datum.key()]


def ink_heights(path):
    """Heights of runs of columns that hold ink: the glyphs of a line of text."""
    with Image.open(path) as picture:
        grey = picture.convert("L")
    width, height = grey.size
    pixels = grey.tobytes()
    heights, top, bottom = [], None, None
    for x in range(width + 1):
        rows = [y for y in range(height) if pixels[y * width + x] >= HALF_INK] if x < width else []
        if rows:
            top = min(rows) if top is None else min(top, rows[0])
            bottom = max(rows) if bottom is None else max(bottom, rows[-1])
        elif top is not None:
            heights.append(bottom - top + 1)
            top = bottom = None
    return grey.size, heights


def main(folder):
    expected = json.loads((folder / "expected.json").read_text())
    pictures = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".webp"))
    for path in pictures:
        for reader in (by_exiftool, by_pillow, by_exiv2):
            values = reader(path)
            assert len(values) == 1, f"{path.name}: {reader.__name__} finds {len(values)} labels"
            read = json.loads(values[0])
            assert read == expected and list(read) == list(expected), f"{path.name}: {reader.__name__}: {read}"
        size, heights = ink_heights(path)
        least = math.ceil(min(size) * 0.05)
        assert len(heights) >= 4 and min(heights) >= least, f"{path.name}: {heights} of {least}"
        print(f"{path.name}: {size[0]} x {size[1]}, lowest glyph {min(heights)} px, rule {least} px")
    print(f"{len(pictures)} pictures read by three readers")


main(Path(sys.argv[1]))
