"""A real Chromium for tests of pages, driven with Selenium (docs/decisions/0013).

Where there is no Chromium the tests are skipped, and say so; with PARE_BROWSER=required, as .ci/run
sets it once it has installed one, they fail instead.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.chrome.webdriver import WebDriver

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without these Chromium asks for its own updates and services: the tests count requests.
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,900", "--lang=en",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """One Chromium for the session, in a profile of its own."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        message = (
            "NO BROWSER: the report was not tested in one. Debian: apt-get install chromium "
            "chromium-driver; elsewhere: Chromium or Chrome, and chromedriver, on the PATH."
        )
        if os.environ.get("PARE_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in SWITCHES:
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chromium = webdriver.Chrome(options=options, service=Service(driver))
    yield chromium
    chromium.quit()


@pytest.fixture
def page(browser: WebDriver) -> Iterator[Page]:
    """A page to open reports in; a test ends without a word in the console, and no request."""
    opened = Page(browser)
    yield opened
    assert opened.console() == []
    assert opened.requests() == []
