"""Simulated robots, one file each. Each speaks `robot_client.robot.Robot` and no more."""
