"""Migrations of media: documents of earlier releases become those of this one while everything goes on, and back."""

from service.migrations.migration import Edit, Migration
from service.migrations.run import MigrationOptions, Observer, Progress, Refusal, Superseded, migrate
from service.migrations.steps import FIRST, LATEST, MIGRATIONS
from service.migrations.survey import Survey, survey

__all__ = [
    "FIRST",
    "LATEST",
    "MIGRATIONS",
    "Edit",
    "Migration",
    "MigrationOptions",
    "Observer",
    "Progress",
    "Refusal",
    "Superseded",
    "Survey",
    "migrate",
    "survey",
]
