"""One command on one host: its connections, one after the other, and what their loss proves."""
