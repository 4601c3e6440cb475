"""The flow of transactions into the lake."""
