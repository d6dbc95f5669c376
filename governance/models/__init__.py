"""Model folders as files; no weights are loaded.

`files`       which files a model folder may hold
`weights`     checks safetensors files by their header
`folder`      compares a folder with the registered manifest
"""
