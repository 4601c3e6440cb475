"""The real servers, started natively: pinned artefacts, plain configuration files, one process group each."""
