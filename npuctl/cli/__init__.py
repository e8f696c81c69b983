"""The command line: one module a verb, found by name.

A verb's module holds `HELP` (one line), `EXAMPLE` (at least one call), `add_arguments(parser)` and
`run(options) -> int`. Nothing heavy is imported at module level: `npuctl --help` imports every
verb and must stay instant.
"""
