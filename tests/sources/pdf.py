"""PDF files of a few lines, written out by hand: no library that reads them has a part in it."""

from __future__ import annotations

from pathlib import Path


def write_pdf(path: Path, *pages: str) -> Path:
    """One page for each text; an empty text is a page without any."""
    count = len(pages)
    kids = " ".join(f"{3 + place} 0 R" for place in range(count))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {count} >>"]
    font = 3 + 2 * count
    for place in range(count):
        rest = f"/Resources << /Font << /F1 {font} 0 R >> >> /Contents {3 + count + place} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {rest} >>")
    for text in pages:
        lines = "".join(f"({line}) Tj T* " for line in text.split("\n")) if text else ""
        stream = f"BT /F1 12 Tf 14 TL 72 700 Td {lines}ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    content, places = "%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(content))
        content += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    tail = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(content)}\n%%EOF\n"
    path.write_text(f"{content}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{tail}", encoding="latin-1")
    return path
