"""Which service a command is about: the deployment that the environment describes, or this folder's embedded stack.

What these commands need besides is imported where it is needed: an image has only what its own process uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from service.errors import ConfigurationError, InvalidInput
from service.models import Role

if TYPE_CHECKING:
    from service.client import MediaClient
    from service.settings import Settings

# Where a client finds the API, and tuning that the embedded stack takes from outside: they describe no deployment.
NO_DEPLOYMENT = ("MEDIA_URL", "MEDIA_TOKEN", "MEDIA_LOG_LEVEL", "MEDIA_WORKER__")
# Enough to recognise a deployment by.
NAMED_VARIABLES = 3


@contextmanager
def explained() -> Iterator[None]:
    """A wrong configuration or a wrong option ends the process with sentences, not with a stack trace."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(f"Not started.\n{error}", err=True)
        raise typer.Exit(1) from None
    except InvalidInput as error:
        typer.echo(f"Not started: {error}", err=True)
        raise typer.Exit(2) from None


@contextmanager
def client_of(url: str | None, token: str | None) -> Iterator[MediaClient]:
    """A client for the block; what it is told ends the process with one sentence."""
    try:
        from service.client import ClientError
    except ModuleNotFoundError as error:
        typer.echo(f"{error.name} is missing: install media-metadata-service[client].", err=True)
        raise typer.Exit(1) from None
    from service.commands.connecting import open_client

    try:
        with explained():
            yield open_client(url, token, _stack_urls() if url is None else {})
    except ClientError as error:
        typer.echo(f"{error.code}: {error.message}", err=True)
        raise typer.Exit(1) from None


def _stack_urls() -> dict[str, str]:
    from service.dev.folder import read_urls

    return read_urls(_stack_folder())


def _stack_folder() -> Path:
    """Where the embedded stack lives. Raises ConfigurationError if a DEV_* variable makes no sense."""
    from service.dev.folder import read_options
    from service.dev.processes import StartFailed

    try:
        return read_options().folder
    except StartFailed as error:
        raise ConfigurationError(str(error)) from None


def settings_of_deployment() -> Settings:
    """For commands that look after a deployment: its settings, or those of this folder's embedded stack."""
    from service.production import load_settings

    adopt_stack_settings()
    return load_settings(Role.WORKER)


def adopt_stack_settings() -> None:
    """Without settings of its own, this process takes those of the embedded stack; ConfigurationError if none runs.

    Says on stderr which it is: one variable that is set for another reason makes them those of another deployment.
    """
    from service.dev.folder import read_environment, read_urls

    if own := sorted(name for name in os.environ if name.startswith("MEDIA_") and not name.startswith(NO_DEPLOYMENT)):
        names = ", ".join(own[:NAMED_VARIABLES]) + (", ..." if len(own) > NAMED_VARIABLES else "")
        typer.echo(f"Settings: from the environment ({names}), not those of a stack of this folder.", err=True)
        return
    folder = _stack_folder()
    if not read_urls(folder):
        raise ConfigurationError(f"No MEDIA_* variable is set, and no stack runs in {folder} (`make run` starts one).")
    typer.echo(f"Settings: those of the stack in {folder}.", err=True)
    os.environ.update(read_environment(folder) | dict(os.environ))
