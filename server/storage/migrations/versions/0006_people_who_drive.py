"""How much of an episode a person did."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        for name in ("human_steps", "interventions"):
            batch_op.add_column(sa.Column(name, sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Back to the version before."""
    with op.batch_alter_table("episodes", schema=None) as batch_op:
        batch_op.drop_column("interventions")
        batch_op.drop_column("human_steps")
