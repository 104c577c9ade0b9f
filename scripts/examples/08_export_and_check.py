"""Write shards in the files of other projects' training code, check them, and make annotations of them again.

    python scripts/examples/08_export_and_check.py [OUT]

Reads OUT/shards of example 04. Writes OUT/coco (pycocotools, mmpose) and OUT/freihand (FreiHAND's files), and reads the
second as a data set somebody else has made. docs/formats.md says what each format means by its numbers.
"""

import sys
from pathlib import Path

import handgen


def main(out: Path) -> None:
    """Export twice, validate, import."""
    for format in ("coco", "freihand"):
        exported = handgen.export(out / "shards", out / format, format=format, workers=1)
        print(f"{exported.out}: {exported.pictures} pictures, {exported.hands} hands; left out: {exported.left_out}")
        # Whole, and do labels mean what they say? Any data set of these formats will do, not only our own.
        checked = handgen.validate(out / format, pixels=True, workers=1)
        print(f"  {'all is well' if checked.valid else 'something is wrong'}")
        for finding in checked.findings.kept:
            print(f"  {finding.where}: {finding.what}; {finding.next}")

    imported = handgen.import_dataset(out / "freihand", out / "imported", format="freihand", workers=1)
    print(f"{imported.out}: {sum(imported.accepted.values())} hands of another project's data set")
    print(handgen.open_annotations(out / "imported"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_out"))
