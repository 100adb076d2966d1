"""Lifecycle nodes of the bench: parameters, topics and lifecycle around the packages of Pilotbench, no logic of their own."""
