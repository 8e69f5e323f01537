"""The task of an episode."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version. Of older episodes nobody knows: the robot may have another task by now."""
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("task", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    """Back to the version before."""
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("task")
