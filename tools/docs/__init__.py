"""Generates pages from the program's declarations: ``python -m tools.docs``.

These are the reference pages, the data model, the sources of the dbt package, and the tests of
each promise. ``tools.docs.pictures`` draws the pictures for ``make docs``.
"""
