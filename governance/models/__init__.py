"""Model folders as files; no weights are loaded.

`files`       what may stand in a model folder
`weights`     the header of a safetensors file
`folder`      whether a folder is what was registered
`artifacts`   files at hand against the evidence that names them
"""
