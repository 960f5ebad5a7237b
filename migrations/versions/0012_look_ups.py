"""Look-ups in the views by local reference and by restriction.

``prev_local_ref`` and ``prev_cohort`` held what readers see while an unpublished run had written
another label. From now on they hold it always, so that an index serves those who look
for a reference.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

VERSIONS = ("patient_privacy_version", "patient_safety_version")


def upgrade() -> None:
    # What runs without facts published is taken over when their facts are written, in order.
    op.execute(
        "UPDATE person SET prev_local_ref = local_ref, prev_cohort = cohort "
        "WHERE local_ref_run IN (SELECT run_id FROM publication)"
    )
    op.create_index(op.f("ix_person_prev_local_ref"), "person", ["prev_local_ref"])
    for table in VERSIONS:
        op.create_index(op.f(f"ix_{table}_restriction_id"), table, ["restriction_id"])


def downgrade() -> None:
    for table in VERSIONS:
        op.drop_index(op.f(f"ix_{table}_restriction_id"), table_name=table)
    op.drop_index(op.f("ix_person_prev_local_ref"), table_name="person")
