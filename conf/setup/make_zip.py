"""make_zip.py TARGET: the project as one zip for `spark-submit --py-files`; the same sources give the same bytes."""

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("jobs", "transforms", "schemas")
SUFFIXES = {".py", ".sql", ".typed", ".html", ".css", ".js"}
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # zip's first day: times of day must not change the bytes


def main(target: Path) -> None:
    sources = [p for package in PACKAGES for p in (ROOT / package).rglob("*") if p.is_file() and p.suffix in SUFFIXES]
    files = {p.relative_to(ROOT).as_posix(): p for p in sources}
    # As in the wheel (pyproject.toml): schemas/shipped.py finds them there.
    files |= {f"schemas/conf/{p.name}": p for p in (ROOT / "conf").iterdir() if p.suffix in {".yaml", ".conf", ".tsv"}}
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    print(f"{target}: {len(files)} files")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
