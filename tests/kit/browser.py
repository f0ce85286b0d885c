"""A real Chromium, without a window."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Chromium and its driver: apt-get install chromium chromium-driver"
)
_FLAGS = (
    "headless=new no-sandbox disable-gpu disable-dev-shm-usage mute-audio window-size=1000,700 "
    "autoplay-policy=no-user-gesture-required"
)


def chromium(*flags: str, downloads: Path | None = None) -> Any:
    """Started with these flags, too; what is saved goes to `downloads`. The test that calls it ends it."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (conf/requirements-dev.txt)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*_FLAGS.split(), *flags]:
        options.add_argument(f"--{flag}")
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def wait(browser: Any, condition: str, patience_s: float = 30) -> None:
    """Until the JavaScript `condition` holds."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, patience_s, poll_frequency=0.05).until(
        lambda _: browser.execute_script(f"return {condition}"), f"never came true: {condition}"
    )
