"""`python -m service dev`: what cannot be run is told before the stack is loaded, which takes a second."""

from __future__ import annotations

import asyncio
import sys

from rich.console import Console
from rich.text import Text

from service.dev.folder import DevOptions, claimed, read_options, wanted_ports
from service.dev.ports import collision, grpc_obstacle, obstacle
from service.dev.processes import StartFailed


def run() -> None:
    """Run the embedded stack until Ctrl-C or SIGTERM; exits with 1 and an explanation if a part does not start."""
    console = Console(stderr=True)
    try:
        options = read_options()
        with claimed(options.folder):
            _look_at_ports(options)
            from service.dev.stack import run_until_stopped

            asyncio.run(run_until_stopped(options, console))
    except StartFailed as error:
        console.print("[bold red]Not running.[/]", Text(str(error)), soft_wrap=True)
        sys.exit(1)


def _look_at_ports(options: DevOptions) -> None:
    """Raise StartFailed if they cannot be had."""
    wanted = wanted_ports(options)
    clash = collision({f"DEV_{name.upper()}_PORT": port for name, port in wanted.items()}, grpc="DEV_S3_PORT")
    if clash:
        raise StartFailed(clash)
    for name, port in wanted.items():
        problem = port and (obstacle(port) or (grpc_obstacle(port) if name == "s3" else None))
        if problem:
            raise StartFailed(f"Port {port} (DEV_{name.upper()}_PORT) {problem}.")
