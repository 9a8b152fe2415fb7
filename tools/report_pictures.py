"""Pictures of the monthly report for docs/inventory.md, from a made-up month in a real Chromium.

Run: ``python -m tools.report_pictures`` (needs Debian's chromium and chromium-driver, and for the
Japanese one a font such as fonts-noto-cjk). They land in docs/pictures.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from bench.inventory_rows import make_month
from pare.inventory.report_html import render

PICTURES = Path(__file__).parents[1] / "docs/pictures"


class Picture(NamedTuple):
    """One view of the report: what stands behind # in its address, and where to scroll to."""

    name: str
    state: str
    part: str
    width: int
    height: int


def main() -> int:
    """Make every picture; returns 3 where there is no browser."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        print("report_pictures: chromium and chromedriver are needed.", file=sys.stderr)
        return 3
    month = make_month(412, 23, unknown=1)
    planned = next(row for row in month.rows if row["plans"] and row["issues"] and row["services"])
    panel = f"principal={quote(planned['principal_arn'], safe='')}"
    pictures = (
        Picture("report-light", "theme=light", "title", 1200, 1000),
        Picture("report-dark", "theme=dark&has=issues", "principals", 1200, 800),
        Picture("report-ja", "theme=light&language=ja", "title", 1200, 1000),
        Picture("report-ja-dark", "theme=dark&language=ja&class=narrow", "principals", 1200, 800),
        Picture("report-panel", f"theme=light&{panel}", "", 1200, 1000),
    )
    page = render(month.snapshot, month.rows, language="en", links={}, gone=month.gone)
    PICTURES.mkdir(exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--no-first-run", "--disable-background-networking",
                   "--disable-component-update", "--disable-sync"):  # fmt: skip
        options.add_argument(switch)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(page, encoding="utf-8")
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            for picture in pictures:
                _take(browser, file, picture)
        finally:
            browser.quit()
    return 0


def _take(browser: webdriver.Chrome, file: Path, picture: Picture) -> None:
    size = {"width": picture.width, "height": picture.height}
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {**size, "deviceScaleFactor": 1, "mobile": False}
    )
    still = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", still)
    browser.get("about:blank")
    browser.get(f"{file.as_uri()}#{picture.state}")
    if picture.part:
        browser.execute_script(
            "document.getElementById(arguments[0]).scrollIntoView()", picture.part
        )
    browser.execute_async_script("setTimeout(arguments[0], 200)")
    target = PICTURES / f"{picture.name}.png"
    browser.save_screenshot(str(target))
    print(f"{target}\t{target.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
