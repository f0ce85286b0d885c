"""The report's page: what it says, that nothing in it comes from elsewhere, and how a browser shows it."""

from __future__ import annotations

import base64
import datetime
import html.parser
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.config import ConfigError
from tests.kit.lake import ROOT
from transforms.report.facts import Facts
from transforms.report.page import (
    Price,
    check_place,
    cost,
    duration,
    hours,
    render,
    short,
    waiting,
    write_page,
)
from transforms.report.services import services

NOW = datetime.datetime(2026, 3, 4, 5, 6, tzinfo=datetime.UTC)
HOSTILE = "<script>document.title = 'taken'</script>\"'&"
_RATES = {
    "recordings": 812,
    "failed": 3,
    "words": 90_210,
    "substitutions": 4_021,
    "deletions": 1_804,
    "insertions": 977,
}
_ALIGNED = [
    {"kind": "equal", "reference": "please call us back", "hypothesis": "please call us back"},
    {"kind": "substitute", "reference": "tomorrow", "hypothesis": "to borrow"},
    {"kind": "insert", "reference": None, "hypothesis": HOSTILE},
]
_WORST = {"uri": "/calls/0412.wav", "audio_id": "x", "channel": 0, "speaker": None, "errors": 2, "words": 5}


def make_facts(**changes: Any) -> Facts:
    """A quarter of a million recordings, of which some have names that would take over a careless page."""
    run = {"run_id": "20260304T010000.000000Z-ab12cd", "status": "ok", "error": None, "started_at": NOW, "failed": 41}
    run |= {"wall_seconds": 38_000.0, "recordings": 250_000, "audio_hours": 20_800.0, "times_real_time": 1970.5}
    lost = {**run, "run_id": "20260303T010000.000000Z-ef34ab", "status": "failed", "error": HOSTILE, "batch_fill": None}
    listen = [
        {
            "audio_id": "a",
            "uri": f"s3://calls/{HOSTILE}/very_long_name_of_a_recording_{index}.wav",
            "language": "en",
            "duration_ms": 187_000 + index * 977_000,
            "confidence": 0.31 + index / 40,
            "flags": flags,
            "text": text,
        }
        for index, (flags, text) in enumerate(
            [
                (["repetition", "low_confidence"], "again and again and again " * 10),
                (["language_mismatch"], "Guten Tag, hier ist die Bibliothek."),
                ([], HOSTILE),
                (["unaligned", "no_such_flag"], "図書館へようこそ。"),
                (["no_speech"], None),
            ]
        )
    ]
    bins = [
        {
            "bin": b,
            "words": 40 * 2**b,
            "right": int(40 * 2**b * (0.3 + b * 0.07)),
            "confidence_sum": 40 * 2**b * (b + 0.5) / 10,
        }
        for b in range(1, 10)
    ]
    evaluation = {
        "source": "/truth.tsv",
        "rates": [{"value": "all", **_RATES, "wer": 0.0754, "cer": 0.031}],
        "languages": [
            {"value": "en", **_RATES, "wer": 0.062, "cer": 0.02},
            {"value": HOSTILE, **_RATES, "wer": 0.21, "cer": None},
            {"value": None, **_RATES, "wer": None, "cer": None},
        ],
        "normalizations": ["whisper-english 0.1.15"],
        "bins": bins,
        "calibration_error": 0.043,
        "times": [
            {"edge": edge, "words": 81_000, "median_ms": 14.0, "p90_ms": 48.0, "within_50": 0.91, "within_100": 0.97}
            for edge in ("start", "end")
        ],
        "worst": [{**_WORST, "unit": "word", "alignment": _ALIGNED}],
    }
    values: dict[str, Any] = {
        "totals": {"recordings": 250_000, "ok": 248_000, "no_speech": 1_959, "failed": 41, "doubtful": 1_203, "hours": 20_800.0,
                   "speech_hours": 15_210.0, "words": 141_000_000, "confidence": 0.9134},
        "work": {"runs": 2, "failed": 1, "first_at": NOW, "last_at": NOW, "wall_s": 38_000.0, "hours": 20_800.0,
                 "second_tries": 812, "retries": 4},
        "runs": [{**run, "batch_fill": 0.934}, lost],
        "stages": {"recognize": 21_000.0, "align": 7_000.0, "load": 90.0, "wait": 6_000.0, "fetch": 9_000.0, "decode": 20_000.0},
        "languages": [{"language": code, "recordings": n, "hours": n / 12, "words": n * 500}
                      for code, n in [("en", 180_000), ("de", 40_000), ("ja", 12_000), (None, 3)]],
        "lengths": [{"bin": b, "recordings": n} for b, n in [(0, 31_000), (1, 40_210), (2, 61_000), (3, 90_100), (4, 22_000), (6, 301)]],
        "confidences": [{"bin": b, "recordings": int(90_000 * 0.55 ** (9 - b))} for b in range(2, 10)],
        "failures": [
            {"stage": "decode", "kind": "corrupt", "recordings": 30, "transient": False, "message": f"{HOSTILE} cannot be opened; record it again"},
            {"stage": "fetch", "kind": "network", "recordings": 11, "transient": True, "message": "the server did not answer; the next run tries again"},
        ],
        "listen": listen,
        "evaluations": [evaluation],
    }  # fmt: skip
    return Facts(**(values | changes))


def page(facts: Facts | None = None, **arguments: Any) -> str:
    asked: dict[str, Any] = {
        "root": "s3://archive/lakehouse",
        "run_id": None,
        "price": Price(2.5, 8),
        "now": NOW,
    } | arguments
    return render(facts or make_facts(), **asked)


def empty_facts() -> Facts:
    """After a run whose only recording failed."""
    totals = dict.fromkeys(make_facts().totals, 0) | dict.fromkeys(("hours", "speech_hours", "words", "confidence"))
    work = make_facts().work | {"runs": 1, "wall_s": 3.0, "hours": 0.0}
    run = make_facts().runs[0] | {"wall_seconds": None, "times_real_time": None, "batch_fill": None}
    empty = "languages lengths confidences failures listen evaluations".split()
    none: dict[str, Any] = {name: [] for name in empty}
    return make_facts(totals=totals | {"recordings": 1, "failed": 1}, work=work, runs=[run], stages={}, **none)


class Outline(html.parser.HTMLParser):
    """The page's elements and its text, but for that of its style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_it_says_what_the_tables_say() -> None:
    text = Outline(page()).text
    for said in (
        "250,000",
        "20,800 h",
        "141M",
        "0.91",
        "1,203 to listen to",
        "41 failed",
        "22.1 % of its time",
        "1,970×",
        "5.8 h",
        "27k",
    ):
        assert said in text, said
    assert "84.44 GPU-hours (8 GPUs" in text and "211.11" in text and "0.01 an hour of audio" in text
    assert "cut off" not in text and "repeats itself" in text and "no_such_flag" in text
    assert "confidence below 0.6" in text and "WER" in text and "7.5 %" in text
    assert "raise batching.front_threads" in text


def test_text_of_the_tables_never_becomes_markup() -> None:
    outline = Outline(page(root=HOSTILE, run_id=HOSTILE))
    assert "script" not in {tag for tag, _ in outline.elements}
    assert outline.text.count("<script>document.title") >= 6  # root, run, error, failure, text, difference
    assert not any(name.startswith("on") for _, attributes in outline.elements for name in attributes)


def test_nothing_comes_from_elsewhere() -> None:
    for tag, attributes in Outline(page()).elements:
        assert tag not in {"script", "img", "iframe", "object", "embed", "base"}
        for name in {"src", "href", "srcset", "action", "xlink:href"} & attributes.keys():
            assert attributes[name] == "data:,", (tag, attributes)
    assert not re.search(r"@import|url\(", page())


def test_every_plot_has_a_name_or_is_hidden_and_its_numbers_stand_in_a_table() -> None:
    elements = Outline(page()).elements
    plots = [attributes for tag, attributes in elements if tag == "svg"]
    assert len(plots) > 8
    assert all(
        plot.get("aria-hidden") == "true" or (plot.get("role") == "img" and plot.get("aria-label")) for plot in plots
    )
    assert sum(tag == "details" for tag, _ in elements) == sum(plot.get("class") == "columns" for plot in plots) == 3
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    named = {attributes["aria-labelledby"] for _, attributes in elements if "aria-labelledby" in attributes}
    assert named <= set(ids)


def test_one_failed_recording_makes_a_page_too() -> None:
    text = Outline(page(empty_facts(), price=None)).text
    assert "1 failed" in text and "Nothing could be decoded." in text and "None" not in text and "nan" not in text
    assert "--price-per-gpu-hour" in text and "Error rates" not in text


def test_costs_are_those_of_all_gpus_from_start_to_end() -> None:
    work = {"wall_s": 7200.0, "hours": 40.0}
    assert cost(work, Price(2.5, 4)) == {"gpu_hours": 8.0, "total": 20.0, "per_hour": 0.5}
    assert cost({"wall_s": 60.0, "hours": 0.0}, Price(2.5))["per_hour"] is None


def test_the_cost_of_an_hour_stands_beside_what_services_ask() -> None:
    """84.44 GPU-hours at 2.50 for 20,800 hours of audio."""
    text = Outline(page()).text
    assert "These runs 0.0101 1×" in text
    listed = services()
    assert len({service.name for service in listed}) == len(listed) > 5
    for service in listed:
        assert 0.01 < service.usd_per_audio_hour < 5 and service.source.startswith("https://")
        times = service.usd_per_audio_hour / (38_000 / 3600 * 8 * 2.5 / 20_800)
        assert f"{service.name} {service.usd_per_audio_hour:.4f} {times:.1f}×" in text
    assert "These runs" not in Outline(page(price=None)).text
    assert "These runs" not in Outline(page(empty_facts())).text, "no audio, no price of an hour"


def test_waiting_is_a_share_of_the_engines_own_time() -> None:
    found = waiting({"recognize": 6.0, "wait": 3.0, "load": 1.0, "align": 1.0, "decode": 90.0})
    assert found is not None and (found["waited"], found["much"], found["beside"]) == (
        0.3,
        True,
        {"align": 1.0, "decode": 90.0},
    )
    assert [part["share"] for part in found["parts"]] == [0.6, 0.1, 0.3]
    assert found["parts"][-1]["start"] == pytest.approx(0.7)
    assert waiting({"decode": 3.0}) is None


def test_amounts_are_told_in_the_unit_that_suits_them() -> None:
    assert [hours(value) for value in (None, 0.01, 0.5, 12.34, 20_800.0)] == [
        "–",
        "36 s",
        "30.0 min",
        "12.3 h",
        "20,800 h",
    ]
    assert [duration(value) for value in (None, 900, 187_000, 3_725_000)] == ["–", "0:00", "3:07", "1:02:05"]


def test_counts_on_bars_are_short() -> None:
    assert [short(n) for n in (0, 999, 1_000, 1_370, 27_225, 141_000_000)] == [
        "0",
        "999",
        "1.0k",
        "1.4k",
        "27k",
        "141M",
    ]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    check_place(str(tmp_path / "new" / "report.html"))
    for folder in (f"{tmp_path}", f"{tmp_path}/", f"{tmp_path}/new/"):
        with pytest.raises(ConfigError, match="is a folder; name a file in it"):
            check_place(folder)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file is a file; give a folder"):
        check_place(str(tmp_path / "file" / "report.html"))


def test_a_full_disk_leaves_the_page_that_was_there(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_page(str(out), "before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ConfigError, match=r"cannot be written: .*; give --out another place"):
            write_page(str(out), "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_template_travels_in_the_zip(tmp_path: Path) -> None:
    archive = tmp_path / "lakescribe.zip"
    subprocess.run([sys.executable, ROOT / "conf" / "setup" / "make_zip.py", archive], check=True, capture_output=True)
    script = "import transforms.report.page as page; print(page.__file__); print(len(page._template()))"
    environment = {**os.environ, "PYTHONPATH": str(archive)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        f"{archive}/transforms/report/page.py",
        str(len((ROOT / "transforms" / "report" / "report.html").read_text(encoding="utf-8"))),
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "disable-gpu",
        "force-device-scale-factor=1",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    yield found
    found.quit()


def shown(browser: Any, folder: Path, text: str, width: int, scheme: str = "light") -> None:
    (folder / "report.html").write_text(text, encoding="utf-8")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get((folder / "report.html").as_uri())


_LUMINANCE = """
const linear = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = color => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(linear); return 0.2126*r + 0.7152*g + 0.0722*b; };
const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (!/, 0\\)$/.test(c)) return c; } return "rgb(255, 255, 255)"; };
return [...document.querySelectorAll("h1, p, dt, dd, td, th, summary, del, ins, .warn, svg text")].map(e => {
  const style = getComputedStyle(e), ink = e instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [light(ink), light(back(e))].sort((x, y) => y - x);
  return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 120)];
}).sort((x, y) => x[0] - y[0])[0];
"""
"""The lowest contrast of any text with what is behind it, by WCAG's formula, and where it is."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_a_browser_shows_it_whole_and_readable(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    shown(browser, tmp_path, page(), width, scheme)
    assert browser.title == "Lakescribe report: s3://archive/lakehouse"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    requests = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in requests if not name.startswith("data:")] == []
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    contrast, where = browser.execute_script(_LUMINANCE)
    assert contrast >= 4.5, where  # WCAG 2.2 AA
    light = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(246, 247, 248)") == (scheme == "light")
    # A bar is as high as its number says: the tallest fills the plot, one of half as many half of it.
    heights = browser.execute_script(
        "return [...document.querySelectorAll('svg.columns')[0].querySelectorAll('rect.bar')].map(e => e.getBBox().height)"
    )
    counts = [found["recordings"] for found in make_facts().confidences]
    assert heights[2:] == pytest.approx([140 * count / counts[-1] for count in counts], abs=0.1)


def test_it_prints_black_on_white_though_the_screen_is_dark(browser: Any, tmp_path: Path) -> None:
    shown(browser, tmp_path, page(), 1200, "dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    colours = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    assert browser.execute_script(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")


def test_many_evaluations_keep_their_ids_apart() -> None:
    facts = make_facts()
    outline = Outline(page(replace(facts, evaluations=facts.evaluations * 3)))
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
