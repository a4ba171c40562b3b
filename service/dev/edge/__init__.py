"""A stand-in for CloudFront on one machine: checks what CloudFront checks, caches, and answers as it does."""

from service.dev.edge.app import Edge, edge_from_settings
from service.dev.edge.configuration import Behavior, EdgeSettings

__all__ = ["Behavior", "Edge", "EdgeSettings", "edge_from_settings"]
