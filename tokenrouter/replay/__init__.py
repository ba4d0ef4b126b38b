"""Replay: captured traffic through the gateway against the simulated vendors, on a virtual clock. Nothing leaves the machine.

`read` turns lines of a file into requests, `run` sends each through one gateway per policy, `seen` and `leaks` say what was lost as it came,
`bound` what a clairvoyant would have paid, `report` gathers, `page` draws.
"""
