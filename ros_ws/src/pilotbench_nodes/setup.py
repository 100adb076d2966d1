"""The nodes as an ament package: colcon installs every console script here, and ROS finds it under the package's name."""

from setuptools import setup

PACKAGE = "pilotbench_nodes"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=[PACKAGE],
    package_data={PACKAGE: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="Pilotbench maintainers",
    maintainer_email="maintainers@pilotbench.invalid",
    description="Lifecycle nodes of the Pilotbench verification bench.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            f"{name} = {PACKAGE}.{name}:main"
            for name in (
                "device_node",
                "interlock_node",
                "recorder_node",
                "protocol_node",
                "bring_up",
                "clock_node",
            )
        ]
    },
)
