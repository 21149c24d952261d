"""Bytes to frames to streams: no socket, no clock, no event loop."""
