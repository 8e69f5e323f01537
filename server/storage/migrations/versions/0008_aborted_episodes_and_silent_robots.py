"""Which episodes were broken off, and whether a robot is there, or went without a word."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("aborted", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
    with op.batch_alter_table("robots", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("presence", sa.String(), server_default="left", nullable=False)
        )
        batch_op.add_column(sa.Column("policy_version", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Back to the version before."""
    with op.batch_alter_table("robots", schema=None) as batch_op:
        batch_op.drop_column("policy_version")
        batch_op.drop_column("presence")
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("aborted")
