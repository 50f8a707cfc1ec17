"""Make a folder of class folders from an npm package of emoji.

    npm pack emoji-datasource-twitter@16.0.0
    python benchmarks/emojis.py emoji-datasource-twitter-16.0.0.tgz FOLDER

    npm pack openmoji@16.0.0
    pip install cairosvg
    python benchmarks/emojis.py openmoji-16.0.0.tgz FOLDER

Unicode's own categories are the classes; flags, and components, which are no pictures, are left
out. Every image of 64 px is put on white and written as JPEG of quality 90, so that
sets differ in their drawings alone.

OpenMoji's package has drawings (SVG) and no images: CairoSVG draws them at their own 72 px, on
white, and Pillow's LANCZOS makes them 64 px. Its extras, which are not Unicode's emoji, and the
variants of skin tones, which are near copies, are left out too.
"""

import argparse
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

LEFT_OUT = ("Flags", "Component")
OPENMOJI_LEFT_OUT = ("flags", "component", "extras-openmoji", "extras-unicode")
SIZE = 64
DRAWN = 72
QUALITY = 90
_IMAGES = re.compile(r"package/(?:img/\w+/64/([^/]+\.png)|color/svg/([^/]+\.svg))")


def main() -> None:
    options = _parse()
    count = make_folder(options.package, options.folder)
    print(f"{count:,} images in {options.folder}")


def make_folder(package: Path, folder: Path) -> int:
    """Writes the images of a package as FOLDER/CLASS/NAME.jpg and returns how many there are."""
    with tarfile.open(package) as opened:
        pictures = {
            found[1] or found[2]: member
            for member in opened
            if (found := _IMAGES.fullmatch(member.name))
        }
        classes = _classes(opened)
        if not classes or not pictures:
            raise SystemExit(f"{package} is no package of emoji: it has no list of them or images.")
        count = 0
        for name, member in pictures.items():  # in the archive's order: going back is slow
            source = opened.extractfile(member)
            if source is None or name not in classes:
                continue
            image = (_drawn if name.endswith(".svg") else _on_white)(source.read())
            _write(image, folder / classes[name] / Path(name).with_suffix(".jpg"))
            count += 1
    return count


def _classes(opened: tarfile.TarFile) -> dict[str, str]:
    """The class folder of each image by its file's name; none if the package is another."""
    names = opened.getnames()
    if "package/emoji.json" in names:
        return {
            emoji["image"]: _folder_name(emoji["category"])
            for emoji in _listed(opened, "package/emoji.json")
            if emoji["category"] not in LEFT_OUT
        }
    if "package/data/openmoji.json" in names:
        return {
            f"{emoji['hexcode']}.svg": _folder_name(_category(emoji["group"]))
            for emoji in _listed(opened, "package/data/openmoji.json")
            if emoji["group"] not in OPENMOJI_LEFT_OUT and not emoji["skintone"]
        }
    return {}


def _listed(opened: tarfile.TarFile, name: str) -> list[dict[str, Any]]:
    source = opened.extractfile(name)
    return json.load(source) if source else []


def _drawn(svg: bytes) -> Image.Image:
    try:
        import cairosvg  # only OpenMoji needs it
    except ImportError:
        raise SystemExit(
            "OpenMoji is drawn by CairoSVG. Get it with: pip install cairosvg"
        ) from None
    png = cairosvg.svg2png(bytestring=svg, output_width=DRAWN, output_height=DRAWN)
    return _on_white(png).resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _on_white(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _write(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=QUALITY)


def _category(group: str) -> str:
    """OpenMoji's "food-drink" as Unicode's "food & drink"."""
    return group.replace("-", " & ")


def _folder_name(category: str) -> str:
    """ "Food & Drink" as food-and-drink."""
    return category.lower().replace(" & ", "-and-").replace(" ", "-")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path, help="the package's .tgz file")
    parser.add_argument("folder", type=Path, help="where the class folders go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
