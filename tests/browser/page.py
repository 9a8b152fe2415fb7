"""A report in a browser: what a person sees and does, for tests."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

if TYPE_CHECKING:
    from pathlib import Path

    from selenium.webdriver.chrome.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement


class Page:
    """One report, opened from disk."""

    def __init__(self, browser: WebDriver) -> None:
        self.browser = browser
        self.resize(1280, 900)
        self.prefer("prefers-reduced-motion", "reduce")  # so that nothing is still on its way
        self.console()
        self.requests()

    def open(self, report: Path, state: str = "") -> None:
        """Open a report; ``state`` is what stands behind # in its address."""
        self.browser.get("about:blank")
        self.browser.get(f"{report.as_uri()}#{state}")

    def resize(self, width: int, height: int) -> None:
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def prefer(self, feature: str, value: str) -> None:
        """Set what the person's system prefers, such as dark colours."""
        self.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"media": "", "features": [{"name": feature, "value": value}]},
        )

    def console(self) -> list[str]:
        """Return what the console says since the last call: errors, refusals of the policy."""
        return [entry["message"] for entry in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.browser.get_log(kind)  # type: ignore[no-untyped-call]
        return found

    def requests(self) -> list[str]:
        """Return the addresses asked for since the last call, but for the page and its parts."""
        asked: dict[str, str] = {}
        for entry in self._log("performance"):
            event = json.loads(entry["message"])["message"]
            number = event["params"].get("requestId")
            if event["method"] in {"Network.requestWillBeSent", "Network.webSocketCreated"}:
                address = event["params"].get("request", event["params"])["url"]
                if not re.match(r"file:|data:|blob:|about:", address):
                    asked[number] = address
            elif event["params"].get("blockedReason") == "csp":
                asked.pop(number, None)  # the page's policy refused it: it was never sent
        return list(asked.values())

    # What is on the page.

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)"
        found: list[str] = self.run(script, selector)
        return found

    def text(self, selector: str) -> str:
        return self.texts(selector)[0]

    def count(self) -> int:
        """Return how many principals pass the filters, as the page says."""
        numbers = re.findall(r"[\d,]+", self.text("#result-count"))
        shown = [int(number.replace(",", "")) for number in numbers]
        return min(shown)  # "9 of 412", 「412 件中 9 件」

    def names(self) -> list[str]:
        """Return the names in the rows that are on the screen, from the first."""
        self.show_rows()
        return self.texts("#grid-body .c-name b")

    def focused(self) -> str:
        """Return the id, or the role and text, of the element that has the focus."""
        script = """
            const one = document.activeElement;
            return one.id || `${one.getAttribute("role") ?? one.tagName}: ${one.innerText}`;
        """
        found: str = self.run(script)
        return found

    # What a person does.

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def click(self, selector: str) -> None:
        self.run("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        self.find(selector).click()

    def search(self, text: str) -> None:
        """Put a text into the search, as pasting does."""
        self.run(
            "const box = document.getElementById('search'); box.value = arguments[0];"
            "box.dispatchEvent(new Event('input', {bubbles: true}))",
            text,
        )

    def show_rows(self) -> None:
        """Scroll to the first rows of the table and wait until they are drawn."""
        self.run("document.getElementById('grid').scrollIntoView()")
        self.frame()

    def frame(self) -> None:
        """Wait until the browser has drawn what was asked for."""
        self.browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def open_row(self, at: int) -> None:
        """Click a row of the first screenful."""
        self.show_rows()
        self.find(f"#grid-body [data-at='{at}']").click()

    def choose(self, name: str, value: str) -> None:
        Select(self.find(f"#filter-{name}")).select_by_value(value)

    def choices(self, name: str) -> list[tuple[str, str]]:
        """Return value and label of a filter's choices, without the first, which is any."""
        found: list[list[str]] = self.run(
            "const { options } = document.getElementById(arguments[0]);"
            "return [...options].map((one) => [one.value, one.text])",
            f"filter-{name}",
        )
        return [(value, label) for value, label in found[1:]]

    def wait(self, condition: str) -> None:
        """Wait until an expression of JavaScript is true."""
        WebDriverWait(self.browser, 20, 0.02).until(lambda _: self.run(f"return {condition}"))
