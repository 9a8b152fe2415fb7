"""How large the monthly report is at 20,000 principals, and how quick in a browser, against 2,000.

Both reports are made and opened in one run, their turns taken one after the other (A B, A B, …), so
that noise is shared; figures are medians, and ratios where they say so. Inside the page a search
and a filter are timed from the event to the end of the work it causes. Bench figures are for
reading; no test depends on them.

Run: ``python -m bench.inventory_report`` (``--rounds 15``; needs chromium and chromedriver).
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from bench.inventory_rows import make_month
from pare.inventory.report_html import render

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (2_000, 20_000)
# From the navigation's start to the end of the script that draws the page.
LOADED = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
TIMED = """
const [id, kind, value] = arguments;
const element = document.getElementById(id);
element.value = value;
const start = performance.now();
element.dispatchEvent(new Event(kind, { bubbles: true }));
document.body.offsetHeight;  // with the layout that follows
return performance.now() - start;
"""
ACTIONS = {
    "search": ("search", "input", ("mei", "api prod", "")),
    "filter": ("filter-class", "change", ("narrow", "disable", "")),
}
SORTED = """
const start = performance.now();
document.querySelector("#grid-head [data-sort='name']").click();
document.body.offsetHeight;
return performance.now() - start;
"""

ROWS = "return document.querySelectorAll('#grid-body [role=row]').length"


def main() -> int:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        print("inventory_report: chromium and chromedriver are needed.", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as folder:
        files = [_write(Path(folder), size) for size in SIZES]
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                       "--disable-background-networking", "--disable-component-update",
                       "--disable-sync", "--window-size=1280,900"):  # fmt: skip
            options.add_argument(switch)
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            _measure(browser, files, rounds)
        finally:
            browser.quit()
    return 0


def _write(folder: Path, size: int) -> Path:
    month = make_month(size, max(4, size // 100), unknown=1)
    start = time.process_time()
    page = render(month.snapshot, month.rows, language="en", links={}, gone=month.gone)
    seconds = time.process_time() - start
    file = folder / f"{size}.html"
    file.write_text(page, encoding="utf-8")
    content = file.read_bytes()
    print(
        f"size at {size:,}\t{len(content) / 1e6:.1f} MB\t{len(content) / size:.0f} B a principal\t"
        f"gzip {len(gzip.compress(content, 6)) / 1e6:.2f} MB\trender {seconds:.1f} s of CPU"
    )
    return file


def _measure(browser: webdriver.Chrome, files: list[Path], rounds: int) -> None:
    found: dict[str, list[list[float]]] = {}

    def take(name: str, at: int, measure: Callable[[], float]) -> None:
        found.setdefault(name, [[] for _ in files])[at].append(measure())

    for _ in range(rounds):
        for at, file in enumerate(files):
            browser.get("about:blank")
            browser.get(file.as_uri())
            take("load", at, lambda: browser.execute_script(LOADED))
            browser.execute_script("document.getElementById('principals').scrollIntoView()")
            browser.execute_script(TIMED, "search", "input", "warm")  # makes what it looks through
            for name, (element, kind, values) in ACTIONS.items():
                for value in values:
                    arguments = (element, kind, value)
                    take(name, at, lambda given=arguments: browser.execute_script(TIMED, *given))  # type: ignore[misc]
            take("sort by name", at, lambda: browser.execute_script(SORTED))
            take("rows in the page", at, lambda: browser.execute_script(ROWS))
    for name, medians in found.items():
        small, large = (statistics.median(each) for each in medians)
        unit = "" if name == "rows in the page" else " ms"
        print(
            f"{name}\t{large / small:.1f} x as much at {SIZES[1]:,} as at {SIZES[0]:,}"
            f"\t({large:.0f}{unit} against {small:.0f}{unit})"
        )


if __name__ == "__main__":
    sys.exit(main())
