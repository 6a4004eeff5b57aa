"""The subcommands of `fusion`, a module each: `add` describes it to the parser, `run` does it."""
