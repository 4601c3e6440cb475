"""Every request, recorded before anything of it is answered, in a log that shows where it was touched."""
