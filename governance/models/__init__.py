"""Model folders as files; no weights are loaded.

`files`       which files a model folder may hold
`configs`     what its JSON files may say
`patterns`    which regular expressions of a tokenizer cannot take long
`templates`   which chat templates run no code and cannot take long
`weights`     checks safetensors files by their header
`folder`      compares a folder with the registered manifest
`signature` the signature file of OpenSSF Model Signing, for other tools
"""
