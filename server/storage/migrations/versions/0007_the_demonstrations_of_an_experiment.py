"""The datasets that an experiment began with."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("demonstrations", sa.JSON(), server_default="{}", nullable=False)
        )


def downgrade() -> None:
    """Back to the version before."""
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.drop_column("demonstrations")
