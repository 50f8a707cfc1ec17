"""Makes a folder of class folders from an npm package of emoji.

    npm pack emoji-datasource-twitter@16.0.0
    python benchmarks/emojis.py emoji-datasource-twitter-16.0.0.tgz FOLDER

Unicode's own categories are the classes; flags, and components, which are no pictures, are left
out. Every image of 64 px is put on white and written as JPEG of quality 90, so that nothing but the
drawing tells one set from another.
"""

import argparse
import io
import json
import re
import tarfile
from pathlib import Path

from PIL import Image

LEFT_OUT = ("Flags", "Component")
QUALITY = 90
_IMAGES = re.compile(r"package/img/(\w+)/64/([^/]+\.png)")


def main() -> None:
    options = _parse()
    count = make_folder(options.package, options.folder)
    print(f"{count:,} images in {options.folder}")


def make_folder(package: Path, folder: Path) -> int:
    """Writes the images of a package as FOLDER/CLASS/NAME.jpg and returns how many there are."""
    with tarfile.open(package) as opened:
        pictures = {
            found[2]: member for member in opened if (found := _IMAGES.fullmatch(member.name))
        }
        listed = opened.extractfile("package/emoji.json")
        if listed is None or not pictures:
            raise SystemExit(f"{package} is no package of emoji: it has no emoji.json or images.")
        count = 0
        for emoji in json.load(listed):
            member = pictures.get(emoji["image"])
            source = member and opened.extractfile(member)
            if source is None or emoji["category"] in LEFT_OUT:
                continue
            path = folder / _folder_name(emoji["category"]) / Path(emoji["image"]).name
            _write(source.read(), path.with_suffix(".jpg"))
            count += 1
    return count


def _write(png: bytes, path: Path) -> None:
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.alpha_composite(white, image).convert("RGB").save(path, quality=QUALITY)


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
