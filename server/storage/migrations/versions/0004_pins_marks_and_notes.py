"""Pinned policies, marks of episodes, notes of experiments and assignments of robots."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "pins",
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("robot", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"]),
        sa.PrimaryKeyConstraint("experiment", "robot"),
    )
    op.create_table(
        "marks",
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("robot", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("discarded", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"]),
        sa.PrimaryKeyConstraint("experiment", "robot", "epoch", "episode"),
    )
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("notes", sa.String(), server_default="", nullable=False))
    with op.batch_alter_table("robots", schema=None) as batch_op:
        batch_op.add_column(sa.Column("assigned", sa.String(), nullable=True))


def downgrade() -> None:
    """Back to the version before."""
    with op.batch_alter_table("robots", schema=None) as batch_op:
        batch_op.drop_column("assigned")
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.drop_column("notes")
    op.drop_table("marks")
    op.drop_table("pins")
