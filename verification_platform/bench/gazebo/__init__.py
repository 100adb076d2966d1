"""Gazebo in the place of the built-in rigid bodies: everything else of the plant stays as it is.

`gazebo_bodies` starts a headless server of its own, which no other run shares, lets it announce itself, and checks that
what turns there is what the bench description says.
"""

from __future__ import annotations

from .bodies import gazebo_bodies as gazebo_bodies
from .installation import Installation as Installation
from .installation import find_gazebo as find_gazebo
