from tests.report.browser import find_browser

collect_ignore = [] if find_browser() else ["test_browser.py"]
