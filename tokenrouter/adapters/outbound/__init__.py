"""Wires that the gateway can send on."""
