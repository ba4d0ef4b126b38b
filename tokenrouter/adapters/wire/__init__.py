"""Vendors' JSON and event streams as typed values: one file per wire, both directions."""
