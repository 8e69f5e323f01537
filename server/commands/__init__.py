"""The resources of the command line, one file each."""
