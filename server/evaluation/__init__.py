"""Whether a version of a policy is good: evaluations, their statistics, and the roll-out's rule."""
