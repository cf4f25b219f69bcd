"""MiMo-Embodied for ROS 2: task plans, affordance points and spatial answers from camera frames."""

__version__ = '0.1.0'
