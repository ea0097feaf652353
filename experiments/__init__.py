"""What is measured about layup_jax: one folder per figure or table, each `python -m experiments.NAME`.

harness.py holds what they share on the way to results.json, report.py what is made of it.
"""
