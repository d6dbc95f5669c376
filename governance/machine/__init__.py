"""This machine.

`machine`   addresses of log and registry, and the keys kept here
"""
