import base64
import hashlib
import json
import sys
from html.parser import HTMLParser

import pytest

from layup_jax.errors import ReportError
from layup_jax.report import compare, read_runs
from layup_jax.report.page import make_page
from tests.report.made_runs import made_run

ATTACK = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Tags in their order, the content of scripts, and all text outside of them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts, self.words, self.metas = [], [], [], []
        self.in_script = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "script":
            self.in_script = True
            self.scripts.append("")
        elif tag == "meta":
            self.metas.append(dict(attrs))

    def handle_endtag(self, tag):
        self.in_script = self.in_script and tag != "script"

    def handle_data(self, data):
        if self.in_script:
            self.scripts[-1] += data
        else:
            self.words.append(data)


def page_of(*paths):
    return Elements(make_page(compare(read_runs(paths))))


def test_what_comes_from_files_stays_text(tmp_path):
    config = {"model": {"options": {ATTACK: ATTACK}}, "partition": ATTACK}
    name = "<img src=x onerror=alert(1)>&amp;\"'"
    paths = [
        made_run(tmp_path, name, config=config, status="failed", failure=ATTACK),
        made_run(tmp_path, "other", mixing=ATTACK),
    ]
    page = page_of(*paths)
    assert "img" not in page.tags
    assert page.tags.count("script") == 3
    words = "".join(page.words)
    assert name in words
    assert words.count(ATTACK) >= 4
    assert json.loads(page.scripts[0])[0]["data"][1]["name"] == (
        "&lt;img src=x onerror=alert(1)&gt;&amp;amp;\"'"
    )


def test_only_the_scripts_of_the_page_may_run(tmp_path):
    page = page_of(made_run(tmp_path, "run"))
    policy = next(each["content"] for each in page.metas if "http-equiv" in each)
    for script in page.scripts[-2:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


@pytest.mark.parametrize("emulated", [True, False])
def test_every_title_says_whether_the_accelerator_was_emulated(tmp_path, emulated):
    config = {"emulation": {"backward_seconds": 0.01 if emulated else 0.0}}
    page = page_of(made_run(tmp_path, "run", config=config))
    titles = [each["layout"]["title"]["text"] for each in json.loads(page.scripts[0])]
    assert len(titles) == 6
    assert [("emulated accelerator" in title) for title in titles] == [emulated] * 6


def test_figures_of_a_run_without_metrics_say_that_there_is_nothing(tmp_path):
    path = made_run(tmp_path, "run", ended=False)
    for file in path.glob("rank*/metrics.jsonl"):
        file.unlink()
    for figure in json.loads(page_of(path).scripts[0]):
        assert figure["layout"]["annotations"][0]["text"] == "nothing measured"


def test_without_plotly_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ReportError, match=r"needs plotly.*'pip install plotly'.*\.md or \.csv"):
        page_of(made_run(tmp_path, "run"))
