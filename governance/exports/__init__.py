"""What other tools read of a model version: Hugging Face, CycloneDX, Croissant, SLSA and in-toto
documents.

1. Each is a pure function of verified records (`governance.exports.records`): same records, same
   bytes.
2. None is evidence. What is decided on stands in the log; an export carries the digests by which it
   is found there.
3. No person is named: people appear as roles and counts, keys by their ids.
4. What is not recorded is said in words, never guessed, and text from outside stays text.
5. They stand beside the model folder, never in it: that one is sealed.
"""
