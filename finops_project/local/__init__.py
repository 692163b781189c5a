"""The whole service on one machine without Docker: servers from wheels, everything under one supervisor."""
