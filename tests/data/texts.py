"""The texts of the small data sets that conftest.py writes."""

DOCUMENTS = [f"<{i}>" + "åb\n"[i % 3] * (5 + 3 * i) for i in range(31)]
REVIEWS = [{"text": "good " * i + "!", "label": i % 2} for i in range(20)]
