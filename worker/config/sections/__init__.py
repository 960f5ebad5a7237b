"""The configuration's sections, grouped by subject: each key with its kind, default and meaning.

``config show``, docs/reference/configuration.md and ``config/worker.toml`` are
generated from these modules.

An annotation holds the type, the kind that parses the value, the description, and an example if
there is no default. Without a kind, the type is one: a ``bool``, a file's ``Path``, or a
``Literal``. A ``Section`` does not check its values: ``worker.config.load`` parses them by their
kinds.
"""
