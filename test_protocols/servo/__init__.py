"""Servo drives."""
