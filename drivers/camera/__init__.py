"""Printed targets in images of a camera: their pose (`charuco`)."""
