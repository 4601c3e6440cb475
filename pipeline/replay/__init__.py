"""Sending rows of the lake through the pipeline once more, and proving what became of them."""
