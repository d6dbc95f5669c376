"""Documents about a model version for other tools: Hugging Face, CycloneDX, Croissant, SLSA and
in-toto.

1. An export is a pure function of verified records (`governance.exports.records`): the same records
   give the same bytes.
2. An export is not evidence. Decisions read the log. An export names log statements by digest.
3. No person is named: people appear as roles and counts, keys by their ids.
4. What is not recorded is stated as such and never guessed. Text from outside is escaped.
5. Exports are written beside the model folder, never into it: its digest fixes its content.

`catalog` finds the `formats`, one module each. They read `records`, share `statements` and `text`,
and are written by `files`. `publish` writes schemas and docs/findings.md.
"""
