"""The migration scripts form one line that ends where the program stands."""

from alembic.script import ScriptDirectory

from worker.store.schema.upgrade import HEAD, alembic_config


def test_the_head_is_the_programs():
    """There is one head, and it is the revision that the program works on."""
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]


def test_revisions_are_numbered_in_order():
    """Behind and ahead are found by comparing numbers, so each revision is one above its parent.

    Those of development versions were below 1003.
    """
    scripts = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())
    numbers = [script.revision for script in reversed(scripts)]
    assert [str(1003 + number) for number in range(len(numbers))] == numbers
