"""Evaluations, what episodes tell of a version, and where an experiment's roll-out stands."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _added() -> dict[str, tuple[sa.Column[Any], ...]]:
    return {
        "episodes": (
            sa.Column("evaluation", sa.Integer(), nullable=True),
            sa.Column("fair", sa.Boolean(), server_default=sa.false(), nullable=False),
            sa.Column("safety_events", sa.Integer(), server_default="0", nullable=False),
            sa.Column("intervention", sa.Double(), server_default="0", nullable=False),
        ),
        "experiments": (
            sa.Column("evaluation", sa.JSON(), server_default="{}", nullable=False),
            sa.Column("rollout", sa.JSON(), server_default="{}", nullable=False),
        ),
    }


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("robots", sa.JSON(), nullable=False),
        sa.Column("episodes", sa.Integer(), nullable=False),
        sa.Column("replay", sa.Boolean(), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("checkpoint", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("evaluations_by_experiment", "evaluations", ["experiment", "id"])
    op.create_table(
        "courses",
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("stable", sa.Integer(), nullable=True),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("candidate", sa.Integer(), nullable=True),
        sa.Column("canaries", sa.JSON(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("watched", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("best", sa.Integer(), nullable=True),
        sa.Column("checkpoint", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"]),
        sa.PrimaryKeyConstraint("experiment"),
    )
    for table, columns in _added().items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for column in columns:
                batch_op.add_column(column)


def downgrade() -> None:
    """Back to the version before."""
    for table, columns in _added().items():
        with op.batch_alter_table(table, schema=None) as batch_op:
            for column in columns:
                batch_op.drop_column(column.name)
    op.drop_table("courses")
    op.drop_index("evaluations_by_experiment", table_name="evaluations")
    op.drop_table("evaluations")
