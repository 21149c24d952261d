"""The version of this package, which is that of the programs."""

VERSION = "0.1.0"
