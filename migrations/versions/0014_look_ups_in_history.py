"""Look-ups in the history by the local reference of then.

The history views take a label that was changed since from ``person_label``, by its own index.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_person_label_local_ref"), "person_label", ["local_ref"])


def downgrade() -> None:
    op.drop_index(op.f("ix_person_label_local_ref"), table_name="person_label")
