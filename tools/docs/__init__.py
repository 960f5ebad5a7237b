"""Makes the pages that say what the program declares: ``python -m tools.docs`` writes them anew.

These are the reference pages, the data model, the sources of the dbt package, and the table of
promises on the page of guarantees.
"""
